"""How far will a patient's diabetes have progressed in a year? (Efron, Hastie, Johnstone and Tibshirani, 2004.)

Read this file from top to bottom, then change it: the kit takes everything it knows of your project from `problem`.
The data's story, with every column's origin, is in data/README.md.
"""

import pandas as pd
import pandera.pandas as pa
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from starterkit.problem import Direction, Holdout, Jitter, Problem, Source, feature, identifier, target


class Patients(pa.DataFrameModel):
    """One row a patient. Rows outside these bounds are measuring errors, and training stops to say so."""

    patient_id: str = identifier(description="stable record id")

    age: int = feature(sensitivity="sensitive", unit="years", ge=0, le=120)
    sex: int = feature(sensitivity="sensitive", isin=[1, 2], description="the source does not say which is which")
    bmi: float = feature(sensitivity="plain", unit="kg/m²", ge=10, le=80, description="body mass index")
    blood_pressure: float = feature(sensitivity="plain", unit="mm Hg", ge=30, le=200, description="mean arterial")
    total_cholesterol: float = feature(sensitivity="plain", unit="mg/dl", ge=50, le=600)
    ldl: float = feature(sensitivity="plain", unit="mg/dl", ge=10, le=500, description="low-density lipoproteins")
    hdl: float = feature(sensitivity="plain", unit="mg/dl", ge=5, le=200, description="high-density lipoproteins")
    cholesterol_ratio: float = feature(sensitivity="plain", ge=1, le=20, description="total cholesterol over HDL")
    log_triglycerides: float = feature(sensitivity="plain", unit="ln mg/dl", ge=2, le=8)
    glucose: float = feature(sensitivity="plain", unit="mg/dl", ge=30, le=600, description="blood sugar")

    progression: float = target(unit="points", ge=0, le=500, description="disease progression after one year")


def load(source: Source) -> pd.DataFrame:
    """Turn the stage's source into `Patients`. Join, rename or derive columns here."""
    return source.read()


def estimator(
    *,
    n_estimators: int = 200,
    learning_rate: float = 0.03,
    max_depth: int = 2,
    subsample: float = 0.5,
    random_state: int = 0,
) -> Pipeline:
    """Plain scikit-learn. The arguments are what `training.params` in config/ may set."""
    return make_pipeline(
        StandardScaler(),
        GradientBoostingRegressor(
            n_estimators=n_estimators,
            learning_rate=learning_rate,
            max_depth=max_depth,
            subsample=subsample,
            random_state=random_state,
        ),
    )


problem = Problem(
    title="Diabetes progression within a year",
    task="regression",
    schema=Patients,
    load=load,
    estimator=estimator,
    metric="rmse",
    holdout=Holdout(fraction=0.2),
    slices=("sex",),  # a new version may be worse for neither
    robustness=(Jitter(share=0.05, worse=0.05), Direction(column="bmi", answer="up", broken=0.1)),
)
