import sys
import pathlib

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))


@pytest.fixture(scope="session")
def appliance():
    """One ready appliance for all tests that leave it as they found it."""
    import appliance as harness
    ready = harness.ready_appliance()
    yield ready
    ready.close()


@pytest.fixture()
def own_appliance():
    """Makes appliances for tests that break them."""
    import appliance as harness
    made = []

    def make(**options):
        made.append(harness.ready_appliance(**options))
        return made[-1]

    yield make
    for one in made:
        one.close()
