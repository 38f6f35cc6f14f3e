"""The worker process: imports, cleans, splits, trains, scores and evaluates, one job after another.

    python -m local.workspace.training      one JSON job a line on stdin, one JSON event a line on stdout

Ends when stdin does. Never talks to the workspace's services, and never invents a result: what cannot be trained ends
with a sentence that says why.
"""

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
import pandas as pd
from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import BlobServiceClient
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score, roc_curve
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

# Census columns the model is trained on. Others, such as sex and race, may be there and are left alone.
NUMBERS = ["age", "education-num", "capital-gain", "capital-loss", "hours-per-week"]
WORDS = ["workclass", "education", "marital-status", "occupation", "relationship", "native-country"]
LABEL, LOW, HIGH = "income", "<=50K", ">50K"
POINTS = 60  # of a curve: more cannot be told apart in a picture
ROOT = ("", "/", ".", "./")  # spellings of a container's root that Azure ML's client takes

type Report = Callable[[str], None]


class CannotTrainError(Exception):
    """The run fails; the message is its reason."""


def run(job: dict[str, Any], report: Report) -> dict[str, Any]:
    """Take one job through all steps. Returns metrics and the names of the blobs written."""
    storage = BlobServiceClient.from_connection_string(job["storage"])
    report("Import Data")
    table = import_data(storage, job["datastore"], job["container"], job["path"])
    report("Clean")
    rows = len(table)
    table = clean(table, job["path"])
    report("Split")
    fraction, seed = _number(job, "test_fraction", 0.25), int(_number(job, "seed", 0))
    train, test = split(table, fraction, seed)
    report("Train")
    model = build(job["model"], seed).fit(train[NUMBERS + WORDS], train[LABEL])
    report("Score")
    chances = model.predict_proba(test[NUMBERS + WORDS])[:, 1]
    guesses = chances >= 0.5
    report("Evaluate")
    metrics = {
        "accuracy": round(float(accuracy_score(test[LABEL], guesses)), 4),
        "auc": round(float(roc_auc_score(test[LABEL], chances)), 4),
        "f1": round(float(f1_score(test[LABEL], guesses, zero_division=0)), 4),
        "positive_share": round(float(table[LABEL].mean()), 4),
        "rows": rows,
        "rows_dropped": rows - len(table),
        "rows_trained": len(train),
        "rows_tested": len(test),
    }
    curve = roc_points(test[LABEL], chances)
    return {"metrics": metrics, "roc": curve, "outputs": write(storage, job, model, metrics)}


def roc_points(truth: pd.Series, chances: np.ndarray) -> list[list[float]]:
    """Return some points of the ROC curve, its two ends among them: false and true positive rate."""
    wrong, right, _ = roc_curve(truth, chances)
    chosen = np.unique(np.linspace(0, len(wrong) - 1, min(len(wrong), POINTS)).astype(int))
    return [[round(float(wrong[at]), 4), round(float(right[at]), 4)] for at in chosen]


def import_data(storage: BlobServiceClient, datastore: str, container: str, path: str) -> pd.DataFrame:
    """Read the blob at `path`, or all .csv files below it as one table."""
    client = storage.get_container_client(container)
    where = f"in datastore '{datastore}' (container '{container}')"
    try:
        if path not in ROOT:
            with contextlib.suppress(ResourceNotFoundError):  # no blob of that name: a folder, then
                return read_csv(client.download_blob(path).readall(), path)
        prefix = "" if path in ROOT else path.rstrip("/") + "/"
        names = sorted(client.list_blob_names(name_starts_with=prefix))
        if not names:
            raise CannotTrainError(f"There is no blob and no folder '{path}' {where}.")
        tables = [name for name in names if name.lower().endswith(".csv")]
        if not tables:
            raise CannotTrainError(f"The folder '{path}' {where} holds no .csv files.")
        return pd.concat([read_csv(client.download_blob(name).readall(), name) for name in tables], ignore_index=True)
    except ResourceNotFoundError as error:
        raise CannotTrainError(f"There is no container '{container}' behind datastore '{datastore}'.") from error


def read_csv(content: bytes, name: str) -> pd.DataFrame:
    """Read one file, and see that it has the columns needed."""
    if not content.strip():
        raise CannotTrainError(f"'{name}' is empty.")
    try:
        if b"\0" in content:
            raise CannotTrainError(f"'{name}' is not a CSV file: it holds binary data.")
        table = pd.read_csv(io.BytesIO(content), skipinitialspace=True, na_values=["?"])
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise CannotTrainError(f"'{name}' is not a CSV file: {error}.") from error
    needed = [*NUMBERS, *WORDS, LABEL]
    missing = [column for column in needed if column not in table.columns]
    if len(missing) == len(needed):
        raise CannotTrainError(f"'{name}' is not a CSV file with census columns; its first line has none of them.")
    if missing:
        raise CannotTrainError(f"'{name}' lacks the columns: {', '.join(missing)}.")
    return table[needed]


def clean(table: pd.DataFrame, path: str) -> pd.DataFrame:
    """Drop rows with missing or unreadable values; turn the label into a truth value."""
    table = table.copy()
    for column in NUMBERS:
        table[column] = pd.to_numeric(table[column], errors="coerce")
    table = table.dropna()
    if table.empty:
        raise CannotTrainError(f"'{path}' has no complete row.")
    label = table[LABEL].astype(str).str.strip().str.rstrip(".")  # the census test set ends its labels with a dot
    if other := sorted(set(label) - {LOW, HIGH}):
        raise CannotTrainError(f"Column '{LABEL}' in '{path}' holds '{other[0]}'; expected {LOW} or {HIGH}.")
    if label.nunique() == 1:
        raise CannotTrainError(f"All {len(table)} rows in '{path}' are of one class, {label.iloc[0]}; two are needed.")
    table[LABEL] = label == HIGH
    return table


def split(table: pd.DataFrame, fraction: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Set a fraction of the rows aside for testing, both classes in proportion."""
    if not 0 < fraction < 1:
        raise CannotTrainError(f"Parameter test_fraction is {fraction:g}; expected a number between 0 and 1.")
    try:
        train, test = train_test_split(table, test_size=fraction, random_state=seed, stratify=table[LABEL])
    except ValueError as error:
        raise CannotTrainError(f"{len(table)} rows are too few to split: {error}") from error
    return train, test


def build(settings: dict[str, Any], seed: int) -> Pipeline:
    """Return the untrained model that the published pipeline's settings describe."""
    options = dict(settings)
    kind = options.pop("kind")
    words = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = make_column_transformer((StandardScaler(), NUMBERS), (words, WORDS))
    if kind == "gradient_boosting":
        return make_pipeline(columns, HistGradientBoostingClassifier(random_state=seed, **options))
    return make_pipeline(columns, LogisticRegression(C=options["c"], max_iter=options["max_iter"], random_state=seed))


def write(storage: BlobServiceClient, job: dict[str, Any], model: Pipeline, metrics: dict[str, float]) -> list[str]:
    """Write the model and its metrics to storage. Returns the blob names."""
    container = storage.get_container_client(job["output_container"])
    with contextlib.suppress(ResourceExistsError):  # made by an earlier run
        container.create_container()
    pickled = io.BytesIO()
    joblib.dump(model, pickled)
    folder = f"runs/{job['run_id']}"
    content = {f"{folder}/model.joblib": pickled.getvalue(), f"{folder}/metrics.json": json.dumps(metrics).encode()}
    for name, data in content.items():
        container.upload_blob(name, data, overwrite=True)
        for location, path in job["output_locations"]:
            copied = f"{path.rstrip('/')}/{name.rpartition('/')[2]}"
            storage.get_blob_client(location, copied).upload_blob(data, overwrite=True)
    return list(content)


def _number(job: dict[str, Any], name: str, default: float) -> float:
    text = job["parameters"].get(name, default)
    try:
        return float(text)
    except ValueError as error:
        raise CannotTrainError(f"Parameter {name} is '{text}'; expected a number.") from error


def main() -> None:
    """Serve jobs until stdin ends."""
    events = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints must not end up among the events

    def say(**event: object) -> None:
        events.write(json.dumps(event) + "\n")

    for line in sys.stdin:
        job = json.loads(line)
        try:
            say(event="finished", **run(job, lambda step: say(event="step", step=step)))
        except CannotTrainError as error:
            say(event="failed", reason=str(error))
        except AzureError as error:
            say(event="failed", reason=f"Storage did not answer as needed: {error}")


if __name__ == "__main__":
    main()
