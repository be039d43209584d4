"""The RViz and Foxglove files can be read and speak of topics that exist."""

import json
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).parents[2]


def test_the_rviz_file_shows_the_overlay_and_the_frames():
    text = (REPOSITORY / 'rviz/registration.rviz').read_text(encoding='utf-8')
    manager = yaml.safe_load(text)['Visualization Manager']
    displays = {display['Name']: display for display in manager['Displays']}
    assert displays['Overlay']['Topic']['Value'] == 'registration/overlay'
    assert displays['Frames']['Class'] == 'rviz_default_plugins/TF'
    assert manager['Global Options']['Fixed Frame'] == 'carm_base'


def test_every_panel_of_the_foxglove_layout_is_configured():
    layout = json.loads((REPOSITORY / 'config/foxglove_registration.json').read_text('utf-8'))

    def panels(node) -> set[str]:
        if isinstance(node, str):
            return {node}
        return panels(node['first']) | panels(node['second'])

    assert panels(layout['layout']) == set(layout['configById'])
