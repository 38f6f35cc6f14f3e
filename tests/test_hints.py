"""What is said to a person who writes an address where a path below the container's root belongs."""

import pytest

from shared.app import App
from shared.errors import BadRequestError, NotFoundError
from shared.operate.calls import Call, request
from shared.operate.plan import plan_call
from shared.rules.hints import hint
from shared.rules.locations import located

MEANT = "income/us/a b.csv"


@pytest.mark.parametrize(
    "text",
    [
        f"training-data/{MEANT}",
        f"training/{MEANT}",
        f"/training-data/{MEANT}",
        f"/{MEANT}",
        f" {MEANT}",
        "income/us/a%20b.csv",
        "https://account.blob.core.windows.net/training-data/income/us/a%20b.csv",
        "https://account.blob.core.windows.net/training-data/income/us/a%20b.csv?sv=2026-02-06&sig=abc%3D",
        "HTTPS://account.dfs.core.windows.net/training-data/income/us/a b.csv",
        "http://127.0.0.1:10000/devstoreaccount1/training-data/income/us/a%20b.csv",
        f"abfss://training-data@account.dfs.core.windows.net/{MEANT}",
        f"wasbs://training-data@account.blob.core.windows.net/{MEANT}",
        f"azureml://datastores/training/paths/{MEANT}",
        f"azureml://subscriptions/s/resourcegroups/g/workspaces/w/datastores/training/paths/{MEANT}",
    ],
)
def test_address_of_a_blob_in_this_container(text: str) -> None:
    """The path below the container's root is told, and no signature."""
    assert hint(text, "training-data", "training").endswith(f"did you mean {MEANT!r}?")


@pytest.mark.parametrize(
    "text",
    [
        "https://account.blob.core.windows.net/other/income/a.csv",
        "abfss://other@account.dfs.core.windows.net/income/a.csv",
        "azureml://datastores/other/paths/income/a.csv",
    ],
)
def test_address_of_a_blob_elsewhere(text: str) -> None:
    """That it is another container is told."""
    assert "It names 'other'" in hint(text, "training-data", "training")


@pytest.mark.parametrize(
    "text", [MEANT, "income/100%/a.csv", "income/%ff.csv", "azureml:income:1", "training-data", ""]
)
def test_path_as_it_should_be(text: str) -> None:
    """Nothing is said of what may well be a path, or of what nobody can guess."""
    assert hint(text, "training-data", "training") == ""


@pytest.mark.usefixtures("empty_container")
def test_hint_is_told_where_people_ask(app: App) -> None:
    """In the webhook's answer and in a plan; also where the path is refused for its form."""
    for path in ("training-data/income/us/a.csv", "https://a.blob.core.windows.net/training-data/income/us/a.csv"):
        with pytest.raises(NotFoundError, match=r"did you mean 'income/us/a\.csv'"):
            request(app, Call(path=path, datastore="training"))
        [planned] = plan_call(app, Call(path=path, datastore="training"))
        assert "did you mean" in f"{planned.reason}"
    with pytest.raises(BadRequestError, match=r"starts with a slash.*did you mean 'income/us/a\.csv'"):
        request(app, Call(path="/income/us/a.csv", datastore="training"))


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("https://acc.blob.core.windows.net/c/p/a%20b%23.csv", ("acc", "c", "p/a b#.csv")),
        ("https://acc.dfs.core.chinacloudapi.cn/c/p#q?sig=x", ("acc", "c", "p#q")),
        ("http://127.0.0.1:10000/devstoreaccount1/c/p", ("devstoreaccount1", "c", "p")),
        ("http://localhost/devstoreaccount1/c/p", ("devstoreaccount1", "c", "p")),
        ("https://acc.blob.core.windows.net/c", ("acc", "c", "")),
    ],
)
def test_address_of_a_blob(url: str, where: tuple[str, str, str]) -> None:
    """Account, container and path, as the service and the emulator write them."""
    assert located(url) == where


@pytest.mark.parametrize("url", ["", "c/p", "abfss://c@a/p", "ftp://a/b", "https://a"])
def test_what_is_no_address_of_a_blob(url: str) -> None:
    """Nothing is read into it."""
    assert located(url) is None
