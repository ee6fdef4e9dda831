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


def pytest_terminal_summary(terminalreporter):
    """The table client x operation of test_clients.py."""
    cells = {}
    for outcome, sign in (("passed", "yes"), ("failed", "FAILED"), ("error", "FAILED")):
        for report in terminalreporter.stats.get(outcome, []):
            named = dict(report.user_properties)
            if "client" in named and "operation" in named:
                cells.setdefault(named["client"], {})[named["operation"]] = sign
    if not cells:
        return
    operations = list(dict.fromkeys(operation for row in cells.values() for operation in row))
    width = max(map(len, operations))
    terminalreporter.section("clients")
    for client in cells:
        terminalreporter.write_line(f"{list(cells).index(client) + 1} = {client}")
    terminalreporter.write_line(" " * width + "".join(f"{i + 1:>8}" for i in range(len(cells))))
    for operation in operations:
        terminalreporter.write_line(operation.ljust(width) + "".join(f"{row.get(operation, '-'):>8}" for row in cells.values()))
