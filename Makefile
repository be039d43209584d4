# Each target sets up what it needs in .venv first (tools/setup_env.sh) and can be run again.
# Settings: PYTHON=python3.12, TEST_ARGS='-k pose', DEMO_ARGS=...,
# BENCH=register BENCH_ARGS='--cases 100' (options are a program's own: name it when you give some)
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: bench clean demo docs help lint reliability setup test

ENV := source .venv/ros_env.sh
# Nothing that a test or the demo sends leaves this machine.
LOCAL := export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST
export PYTHON
PYTEST := .venv/bin/python -m pytest
ifeq ($(strip $(TEST_ARGS)),)
# Two processes beside each other, one thread of torch each; the promises about time and load are tested with nothing beside.
TESTS = OMP_NUM_THREADS=1 $(PYTEST) -n 2 --dist loadfile --ignore-glob='*/test_reliability_*' && \
  $(PYTEST) test/ros/test_reliability_*.py
else
TESTS = $(PYTEST) $(TEST_ARGS)
endif

help:  ## this list
	@grep -hE '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## /  make \1\t/'

setup:  ## the environment in .venv alone
	@tools/setup_env.sh

demo: setup  ## simulated C-arm and registration node over ROS 2; table and pictures in demo/
	@$(ENV); $(LOCAL); .venv/bin/python -m sph_reg_ros.demo $(DEMO_ARGS)

test: setup  ## all tests that this machine can run
	@$(ENV); $(LOCAL); export REQUIRE_ROS=1; $(TESTS)

reliability: setup  ## measure the promises, or those in PROMISES; writes docs/reliability.md
	@$(ENV); $(LOCAL); REQUIRE_ROS=1 .venv/bin/python tools/reliability.py $(PROMISES)

lint: setup  ## style, format and types
	@$(ENV); ruff check .; ruff format --check .; mypy

bench: setup  ## every program in bench/, or the one that BENCH names
	@tools/setup_env.sh bench
	@$(ENV); for program in bench/$(or $(BENCH),[a-z]*).py; do \
	  echo "bench: $$program"; .venv/bin/python "$$program" $(BENCH_ARGS); \
	done

docs: setup  ## the documentation as a site, in site/
	@tools/setup_env.sh docs
	@.venv/bin/mkdocs build

clean:  ## remove .venv and everything that was generated
	rm -rf .venv build install log demo dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
