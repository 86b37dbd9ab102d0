"""A run on a cluster whose time is made up: workers, nodes and the driver fail, and nothing is lost or doubled."""

from __future__ import annotations

from jobs_simulation import World, simulate


def test_fifty_workers_lose_and_double_nothing_when_workers_nodes_and_the_driver_fail(tmp_path):
    world = World(workers=50, workers_per_node=5, lost_nodes=0.2)
    found = simulate(tmp_path, world, shards=150, fatal=2, seed=22)
    assert found["is_complete"]
    assert (found["lost"], found["doubled"], found["strange"], found["unfinished_files"]) == (0, 0, 0, 0)
    assert (found["named_failures"], found["wrongly_named"]) == (2, 0)
    # All of that happened, so that there was something to lose.
    assert found["ended"]["node"] == 2
    assert found["ended"]["driver"] == 2
    assert found["ended"]["worker"] > 4
    assert 0 < found["share_done_in_vain"] < 0.5
