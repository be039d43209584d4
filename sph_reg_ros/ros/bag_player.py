"""bag_player: plays a bag through the live node, image by image, and reports as sph-reg replay.

Publishes /clock and the node's inputs, transforms where they are needed; simulated time stands
still while an image is registered, so that none is skipped or too old.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import rclpy
from rclpy.signals import SignalHandlerOptions

from sph_reg_ros.errors import CancelledError, RegistrationError, require_setting
from sph_reg_ros.replay.bag_reader import BagInputs, opened
from sph_reg_ros.replay.bag_topics import named_topics
from sph_reg_ros.replay.limits import all_met, parse_limit
from sph_reg_ros.replay.live_record import LiveRecord
from sph_reg_ros.replay.ordering import companions_first
from sph_reg_ros.replay.params_file import read_parameters
from sph_reg_ros.replay.per_image import tolerance_ns
from sph_reg_ros.replay.table import limit_lines, table_lines
from sph_reg_ros.ros.player_node import BagPlayer
from sph_reg_ros.service.parameters import NodeParameters
from sph_reg_ros.service.stop_signals import stop_on_signals

EXIT_NOT_USABLE, EXIT_ERROR, EXIT_STOPPED = 1, 2, 130


def main(args: Sequence[str] | None = None) -> int:
    """Play a bag, write what `sph-reg replay` writes, and print its table."""
    words = sys.argv[1:] if args is None else list(args)
    # Those before it are no business of rclpy, which would take a topic:=name for its own.
    end = words.index('--ros-args') if '--ros-args' in words else len(words)
    options = _parser().parse_args(words[:end])
    stop_on_signals()
    rclpy.init(args=words[end:], signal_handler_options=SignalHandlerOptions.NO)
    try:
        return _run(options)
    except CancelledError:
        return EXIT_STOPPED
    except (RegistrationError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return EXIT_ERROR
    finally:
        rclpy.try_shutdown()


def _run(options: argparse.Namespace) -> int:
    limits = [parse_limit(text) for text in options.limit]
    parameters = read_parameters(options.params, fixed={'ct.path': str(options.ct.resolve())})
    require_setting(parameters.continuous, 'continuous is false: the node registers no image')
    with opened(options.bag, named_topics(options.topic), parameters) as inputs:
        live = LiveRecord(inputs, options.bag, parameters, options.truth, options.output)
        _play(inputs, live, parameters)
    record = live.finish()
    files = live.write(record, limits)
    lines = [*table_lines(record), *limit_lines(limits, [record])]
    print('\n'.join([*lines, *(f'wrote {path}' for path in files)]), flush=True)
    return 0 if all_met(limits, [record]) else EXIT_NOT_USABLE


def _play(inputs: BagInputs, live: LiveRecord, parameters: NodeParameters) -> None:
    player = BagPlayer(parameters)
    try:
        player.wait_for_node(next((e.stamp_ns for e in inputs.events() if e.stamp_ns), 0))
        images = 0
        tolerance = tolerance_ns(parameters.matching.max_time_difference)
        for event in companions_first(inputs.events(), tolerance):
            player.publish(event)
            live.take(event)
            if event.name == 'image':
                live.note(*player.answer(event))
                images += 1
                player.get_logger().info(f'image {images} of {inputs.images}')
    finally:
        player.destroy_node()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description='Play a bag through the live registration node.')
    parser.add_argument(
        '--bag', type=Path, required=True, help='rosbag2 folder, .mcap or .db3 file'
    )
    parser.add_argument('--ct', type=Path, required=True, help='the CT that the node has')
    parser.add_argument('--output', type=Path, required=True, help='folder for the report')
    parser.add_argument('--params', type=Path, help='parameter file of the node')
    parser.add_argument('--truth', default='', help='topic of true poses, or TUM file')
    parser.add_argument('--topic', action='append', default=[], help='as for sph-reg replay')
    parser.add_argument('--limit', action='append', default=[], help='as for sph-reg replay')
    return parser


if __name__ == '__main__':
    raise SystemExit(main())
