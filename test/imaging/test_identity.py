"""Hashes of identifiers."""

import hashlib

from sph_reg_ros.imaging.identity import hashed_identifier


def test_an_identifier_is_hashed_without_its_padding_and_nothing_stays_nothing():
    assert hashed_identifier('ID 7') == hashlib.sha256(b'ID 7').hexdigest()[:16]
    assert hashed_identifier(' ID 7 \0') == hashed_identifier('ID 7') != hashed_identifier('ID 8')
    assert hashed_identifier(None) == hashed_identifier('') == hashed_identifier('  ') == ''
