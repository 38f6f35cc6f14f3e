"""Makes census-like income data to train on. The data is synthetic: no row describes a person.

    python -m local.workspace.sample_data --country us --rows 2000 --seed 1 --out adult.csv

Columns as in the UCI Adult set, without its sampling weight. The same seed gives the same text. `sex` and `race` are
there because the set has them; they have no influence on the income. In the US data education, age and hours say more
about the income than elsewhere, so models trained on the two differ visibly. Never downloads anything.
"""

import csv
import io
import math
import random
from pathlib import Path

import click

COLUMNS = [
    "age", "workclass", "education", "education-num", "marital-status", "occupation", "relationship", "race", "sex",
    "capital-gain", "capital-loss", "hours-per-week", "native-country", "income",
]  # fmt: skip

# word -> how common; the second number is its pull on the income
EDUCATION = {
    "Some-HS": (8, 13, -1.2), "HS-grad": (9, 32, -0.5), "Some-college": (10, 22, -0.2), "Assoc-voc": (11, 8, 0.1),
    "Bachelors": (13, 17, 0.9), "Masters": (14, 6, 1.4), "Doctorate": (16, 2, 2.0),
}  # fmt: skip
OCCUPATION = {
    "Exec-managerial": (13, 0.9), "Prof-specialty": (13, 0.8), "Tech-support": (4, 0.4), "Sales": (12, 0.2),
    "Craft-repair": (14, 0.0), "Adm-clerical": (13, -0.2), "Machine-op-inspct": (8, -0.4),
    "Transport-moving": (6, -0.1), "Handlers-cleaners": (5, -0.8), "Other-service": (12, -1.0),
}  # fmt: skip
WORKCLASS = {"Private": 74, "Self-emp-not-inc": 9, "Self-emp-inc": 4, "Local-gov": 7, "State-gov": 4, "Federal-gov": 2}
MARITAL = {"Married-civ-spouse": 46, "Never-married": 33, "Divorced": 14, "Separated": 4, "Widowed": 3}
RACE = {"White": 60, "Black": 15, "Asian-Pac-Islander": 15, "Amer-Indian-Eskimo": 4, "Other": 6}
ABROAD = ("Mexico", "Philippines", "Germany", "Canada", "India", "England", "Cuba", "Jamaica", "China", "Italy")

# How strongly the columns decide, how much chance does, and where the line to >50K lies.
US = {"signal": 1.5, "chance": 0.5, "line": 1.5}
ABROAD_WEIGHTS = {"signal": 0.9, "chance": 0.85, "line": 2.1}


def generate(country: str, rows: int, seed: int) -> str:
    """Return CSV text with a header and `rows` rows. `country` is `us` or `non-us`."""
    if country not in ("us", "non-us"):
        raise ValueError(f"country: expected us or non-us, got {country!r}")
    chance = random.Random(f"{country} {seed}")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_row(chance, country) for _ in range(rows))
    return text.getvalue()


def _row(chance: random.Random, country: str) -> list[object]:
    weights = US if country == "us" else ABROAD_WEIGHTS
    age = min(90, 17 + int(chance.gammavariate(2.6, 8.5)))
    education = _pick(chance, {word: entry[1] for word, entry in EDUCATION.items()})
    occupation = _pick(chance, {word: entry[0] for word, entry in OCCUPATION.items()})
    marital = _pick(chance, MARITAL) if age > 22 else "Never-married"
    married = marital == "Married-civ-spouse"
    sex = chance.choice(("Male", "Female"))
    hours = max(5, min(99, round(chance.gauss(40 if country == "us" else 43, 9))))
    gain = int(chance.lognormvariate(8.6, 0.9)) if chance.random() < 0.08 else 0
    loss = int(chance.gauss(1850, 250)) if chance.random() < 0.04 else 0
    pull = (
        EDUCATION[education][2]
        + OCCUPATION[occupation][1]
        + (1.1 if married else -0.7)
        + (hours - 40) / 18
        - ((age - 48) / 22) ** 2
        + math.log1p(gain) / 5
        + (0.4 if loss else 0.0)
    )
    above = weights["signal"] * pull + chance.gauss(0, 1.6) * weights["chance"] * 1.6 > weights["line"]
    workclass = _pick(chance, WORKCLASS)
    if chance.random() < 0.02:  # unknown, as in the census: such rows are dropped by the pipeline
        workclass = occupation = "?"
    spouse = "Husband" if sex == "Male" else "Wife"
    relationship = spouse if married else "Own-child" if age < 25 else "Not-in-family"
    native = "United-States" if country == "us" else chance.choice(ABROAD)
    return [
        age, workclass, education, EDUCATION[education][0], marital, occupation, relationship, _pick(chance, RACE), sex,
        gain, loss, hours, native, ">50K" if above else "<=50K",
    ]  # fmt: skip


def _pick(chance: random.Random, shares: dict[str, int]) -> str:
    return chance.choices(list(shares), list(shares.values()))[0]


@click.command(help="Write synthetic census-like income data as CSV.")
@click.option("--country", type=click.Choice(["us", "non-us"]), default="us", show_default=True)
@click.option("--rows", type=click.IntRange(min=1), default=2000, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True)
def main(country: str, rows: int, seed: int, out: Path) -> None:
    """Write a file."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(generate(country, rows, seed))
    click.echo(f"{out}: {rows} rows, {country}, seed {seed}")


if __name__ == "__main__":
    main()
