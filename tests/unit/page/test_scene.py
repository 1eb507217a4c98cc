"""What the drawing of the control room is told of links."""

from p2pqg.page import scene


def test_traffic_is_that_of_both_ways_of_the_links_that_are_drawn():
    table = {"sender": [0, 1, 2, 1], "receiver": [1, 0, 1, 3], "bytes": [100.0, 30.0, 0.5, 7.0]}
    assert scene.traffic([[1, 0], [1, 2], [0, 3]], table) == [130, 0.5, 0]
    assert scene.traffic([], table) == []
    assert scene.traffic([[0, 1]], {name: [] for name in table}) == [0]
