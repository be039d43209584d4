# One line of progress a step, a stamp of its inputs, and the log's tail when it fails.
# Sourced by setup_env.sh.

fail() {
  printf 'setup: %s\n' "$@" >&2
  exit 1
}

# run_step TEXT COMMAND...
run_step() {
  local text=$1 start=$SECONDS status
  shift
  printf 'setup: %s ... ' "$text"
  mkdir -p "$venv"
  set +e  # not `if ! (...)`: a condition would switch off the -e inside as well
  (set -ex; "$@") >>"$log" 2>&1 </dev/null
  status=$?
  set -e
  if [ "$status" -ne 0 ]; then
    printf 'failed. The end of %s:\n' "$log"
    tail -n 30 "$log"
    exit 1
  fi
  printf '%d s\n' $((SECONDS - start))
}

# step NAME INPUTS TEXT COMMAND...: run_step, unless it succeeded with the same inputs before.
step() {
  local stamp=$venv/stamps/$1 inputs=$2
  shift 2
  if [ -e "$stamp" ] && [ "$(<"$stamp")" = "$inputs" ]; then
    return
  fi
  run_step "$@"
  mkdir -p "$venv/stamps"
  printf '%s' "$inputs" >"$stamp"
}

hash_of() {
  sha256sum -- "$@" | sha256sum | cut -c 1-64
}
