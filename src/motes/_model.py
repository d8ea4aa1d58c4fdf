"""The one trained model: points or a table inside, and the same questions to both."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from motes._progress import Reporter
from motes.data._arrays import plain
from motes.data._frames import Frame, as_frame
from motes.data._shapes import SHAPES
from motes.data._tables import Standardiser, Table
from motes.data._templates import keep, kept, template_of, without
from motes.errors import UsageError, check_count, unknown
from motes.learning._averages import Averages
from motes.learning._bounds import Bound, Variance
from motes.learning._checkpoints import complete_name, read_checkpoint, reading, write_checkpoint
from motes.models._columns import matrix_of
from motes.models._evidence import Evidence, evidence_of
from motes.models._point_conditions import impute_draws, sample_given, unlikely_conditions
from motes.models._points import PointModel, model_path
from motes.models._several import prior_warnings, sample_several
from motes.models._table_draws import Drawn
from motes.models._table_predictions import DRAWS, QUANTILES
from motes.models._tables import RowLikelihood, TableModel, of_checkpoint
from motes.plots.report import check_page, write_page
from motes.recipes import Recipe
from motes.sampling._guidance import Guidance
from motes.sampling._likelihood import Likelihood
from motes.sampling._options import Sampling

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from motes.diagnosis._after import Diagnosis
    from motes.diagnosis._calibration import Calibration
    from motes.diagnosis._of_tables import TableDiagnosis
    from motes.diffusion._denoiser import Denoiser
    from motes.evaluation._points import PointDetails
    from motes.evaluation._posteriors import PosteriorDetails
    from motes.evaluation._record import Evaluation
    from motes.evaluation._table_details import TableDetails

Array = NDArray[np.float64]
OnBlock = Callable[[int], None] | None
ROWS = 10_000  # that an evaluation draws
CONTOURS = (0.5, 0.9)  # shares of the draws of a posterior that lines hold


class Model:
    """A trained model, which answers in the units, types and kind of table of the rows it was trained on.

    `motes.fit` and `motes.load` make one. It has Gaussian diffusion inside (`kind` "points": columns of real numbers)
    or masked diffusion (`kind` "table": columns of any type). What only one of both can do raises `UsageError` in the
    other.

    Attributes:
        inner: the model inside, a `PointModel` or a `TableModel`, with its own arrays and options.
        template: an empty table of the kind that samples have; None: they are a `Frame`, which has `to_pandas()`.

    Example:
        >>> import motes
        >>> model = motes.fit(motes.make_shape("moons", 200), changes={"training.steps": 2}, verbose=False)
        >>> model.sample(3).shape
        (3, 2)
        >>> people = {"age": [31, 47, 25, 62] * 10, "smoker": ["no", "yes", "no", "no"] * 10}
        >>> table = motes.fit(people, changes={"table.steps": 2}, verbose=False)
        >>> sorted(table.sample(3))
        ['age', 'smoker']

        Two steps of training make no good model, and are enough to see how one is used. The examples of the methods go
        on with `model` and `table`.
    """

    def __init__(self, inner: PointModel | TableModel, template: Any = None):
        self.inner, self.template = inner, template

    @property
    def kind(self) -> Literal["points", "table"]:
        """What is inside."""
        return "points" if isinstance(self.inner, PointModel) else "table"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return self.inner.columns

    @property
    def recipe(self) -> Recipe:
        """What it was trained by."""
        return self.inner.recipe

    @property
    def source(self) -> str:
        """The shape, data set or file that it was trained on; "" for a table in memory."""
        return self.inner.source

    @property
    def seed(self) -> int:
        """Of the training."""
        return self.inner.seed

    @property
    def training(self) -> Any:
        """Losses and times of the training; None where the model was loaded."""
        return self.inner.training

    @property
    def parameters(self) -> int:
        """Number of trained numbers."""
        return self.inner.parameters

    def __repr__(self) -> str:
        what = "points" if self.kind == "points" else "a table"
        on = f", trained on {self.source}" if self.source else ""
        return f"Model({what} of {len(self.columns)} columns{on}, {self.parameters:,} parameters)"

    def _repr_html_(self) -> str:
        from html import escape

        names = ", ".join(self.columns[:12]) + (", …" if len(self.columns) > 12 else "")
        rows = {
            "kind": self.kind,
            "trained on": self.source or "rows in memory",
            "columns": f"{len(self.columns)}: {names}",
            "parameters": f"{self.parameters:,}",
            "seed": str(self.seed),
        }
        cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows.items())
        return f"<table><caption>motes.Model</caption>{cells}</table>"

    # --- samples ---

    def sample(
        self,
        n: int,
        *,
        given: Any = None,
        label: Any = None,
        seed: int = 0,
        exact: bool = False,
        placeholders: bool = False,
        iid: bool = False,
        how: Sampling | Mapping[str, Any] | None = None,
        on_block: OnBlock = None,
    ) -> Any:
        """Draw `n` new rows, in the kind of table that the training rows had. The same seed gives the same rows.

        Rows that were trained on as an array, a data frame or a dict come back as one. Where the training rows were
        read from a file, the rows are a `Frame`: `to_pandas()`, `to_polars()`, `to_arrow()`, `to_numpy()`.

        Args:
            n: how many.
            given: conditions, column -> a value or (low, high), one of which may be None. In a table also a set of
                labels, None (missing), or `Not(value)` of `motes.tables`. Of a model that was trained `given` x, what
                was observed: one row, (c,) or a mapping column -> number; or m rows, (m, c) or a table, and then `n`
                rows are drawn for each: an array (m, n, d), or a list of m tables.
            label: the class of points, one for all or one for each (n,). In a table a class is a column: use `given`.
            seed: of the draw.
            exact: in a table, weigh rows under conditions by the model's own order; see docs/conditions.md.
            placeholders: in a table, number the rows in columns that are set aside (ids, names, e-mail addresses), as
                in `name-000001`. Otherwise they have no value there; see docs/tables.md.
            iid: the m observations are independent ones of the same row: `n` rows are drawn given all of them, (n, d);
                see docs/posteriors.md.
            how: of points, in the place of the recipe's: `motes.Sampling(sampler=, steps=, grid=, guidance=)`, or a
                mapping such as {"sampler": "ddim", "steps": 50}; see docs/samplers.md.
            on_block: called with the number of rows drawn so far.

        A `UserWarning` names a condition that is so improbable that the answer is a guess; `evidence` has its number.

        Raises:
            UsageError: what does not fit the columns or the model, or a condition of probability 0.
            DataError: a value that its column cannot hold.

        Example:
            >>> model.sample(3).shape
            (3, 2)
            >>> theta = motes.make_shape("moons", 200)
            >>> posterior = motes.fit(theta, given=theta.sum(axis=1), changes={"training.steps": 2}, verbose=False)
            >>> posterior.sample(3, given=[0.5]).shape, posterior.sample(3, given=[[0.5], [1.0]]).shape
            ((3, 2), (2, 3, 2))
            >>> posterior.sample(3, given=[[0.5], [1.0]], iid=True).shape
            (3, 2)
            >>> rows = table.sample(5, given={"smoker": "yes", "age": (30, None)})
            >>> set(rows["smoker"]), bool(min(rows["age"]) >= 30)
            ({'yes'}, True)
        """
        if isinstance(self.inner, TableModel):
            self._refuse({"label": label}, "sample", "A class of a table is a column: give given={column: label}.")
            self._refuse({"iid": iid}, "sample", "Several observations are for points that were trained given x.")
            self._refuse({"how": how}, "sample", "The columns of a table are drawn one after another: leave `how` out.")
            rows = self.inner.sample(
                n, given=given, seed=seed, exact=exact, placeholders=placeholders, on_block=on_block
            )
            for message in self._evidence(self.inner, given or {}, rows).warnings:
                warnings.warn(message, UserWarning, stacklevel=2)
            return self._native(rows)
        if exact:
            raise UsageError("exact=True is for tables; this model is of points. Leave it out.")
        self._refuse({"placeholders": placeholders}, "sample", "Points have no column that is set aside.")
        how = _of_points(Sampling.of(how))
        if self.inner.context is not None:
            for message in self.inner.context.novel(self.inner.context.rows(given)[0]):
                warnings.warn(message, UserWarning, stacklevel=2)
            if iid:
                for message in prior_warnings(self.inner):
                    warnings.warn(message, UserWarning, stacklevel=2)
                return self._native(
                    sample_several(self.inner, n, given, seed=seed, label=label, how=how, on_block=on_block)
                )
            drawn = self.inner.sample(n, seed=seed, label=label, given=given, how=how, on_block=on_block)
            return self._natives(drawn)
        if iid:
            raise UsageError(
                "got iid = True, and this model is conditioned on nothing. Train one with observations: "
                "motes.fit(theta, given=x)."
            )
        if given is None or (isinstance(given, Mapping) and not given):
            return self._native(self.inner.sample(n, seed=seed, label=label, how=how, on_block=on_block))
        for message in unlikely_conditions(self.inner, given):
            warnings.warn(message, UserWarning, stacklevel=2)
        points, _ = sample_given(self.inner, n, given, seed=seed, label=label, how=how, on_block=on_block)
        return self._native(points)

    def evidence(self, given: Mapping[str, Any], *, n: int = 8192, seed: int = 0, exact: bool = False) -> Evidence:
        """How probable a condition is to a model of a table, and how many rows `n` drawn ones under it are worth.

        Raises:
            UsageError: a model of points, or conditions that do not fit.
            DataError: a value that its column cannot hold.

        Example:
            >>> found = table.evidence({"smoker": "yes"}, n=64)
            >>> bool(0.1 < np.exp(found.log_prob) < 0.4), round(found.effective)  # a quarter of the rows
            (True, 64)
        """
        inner = self._table("evidence", "The probability of a condition on points is not computed.")
        return self._evidence(inner, given, inner.sample(n, given=given, seed=seed, exact=exact))

    @staticmethod
    def _evidence(inner: TableModel, given: Mapping[str, Any], rows: Drawn) -> Evidence:
        if not given:
            return Evidence(0.0, (), float(len(rows)), ())
        return evidence_of(inner, given, [rows.log_evidence], rows.effective)

    def chain(
        self, n: int, record: Sequence[int], *, given: Any = None, seed: int = 0, on_block: OnBlock = None
    ) -> tuple[Any, Any]:
        """As `sample`, with the rows at some places of the reverse process: the samples, and a table for each place.

        A place counts steps from the start, 0. Of points it is one of `grid`, and rows there are noisy; of an array
        they are one array (places, n, d). Of a table it is the number of columns that are revealed; the others are
        missing. A model that was trained `given` x needs one observation.

        Example:
            >>> rows, noisy = model.chain(5, [0, 16])
            >>> len(noisy), noisy[0].shape
            (2, (5, 2))
        """
        if isinstance(self.inner, PointModel):
            points, kept = self.inner.chain(n, record, seed=seed, given=given, on_block=on_block)
            if points.ndim > 2:
                raise UsageError(f"chain: got {len(points)} observations; expected one, such as given=x[0].")
            tables = [self._native(one) for one in kept]
            return self._native(points), np.stack(tables) if tables and isinstance(tables[0], np.ndarray) else tables
        self._refuse({"given": given}, "chain", "`sample` takes conditions.")
        schema, rows = self.inner.schema, self.inner.sample(n, seed=seed, on_block=on_block)
        revealed = dict.fromkeys(schema.parts[j].column for j in self.inner.order.tolist())
        order = [*(name for name in schema.names if name not in revealed), *revealed]
        places = [int(place) for place in record]
        if any(not 0 <= place <= len(order) for place in places):
            raise UsageError(f"record = {places}; expected numbers of columns, from 0 to {len(order)}.")
        return self._native(rows), [self._native(rows.without(order[place:])) for place in places]

    # --- likelihood ---

    def score_samples(
        self,
        data: Any,
        *,
        given: Any = None,
        label: Any = None,
        orders: int = 1,
        smooth: bool = False,
        on_block: OnBlock = None,
    ) -> Array:
        """log p of each row, (n,), in nats of the data's units; a mass for discrete columns. See `likelihood`.

        Example:
            >>> table.score_samples({"age": [31, 25], "smoker": ["yes", "no"]}).shape
            (2,)
            >>> model.score_samples(motes.make_shape("moons", 3)).shape
            (3,)
        """
        found = self.likelihood(data, given=given, label=label, orders=orders, smooth=smooth, on_block=on_block)
        return found.log_prob

    def likelihood(
        self,
        data: Any,
        *,
        given: Any = None,
        label: Any = None,
        orders: int = 1,
        smooth: bool = False,
        seed: int = 0,
        on_block: OnBlock = None,
    ) -> Likelihood | RowLikelihood:
        """log p of rows, with what is known of its error; in nats of the data's units.

        Args:
            data: n rows, in any kind of table. Missing entries of a table are left out of log p.
            given: of points that were trained `given` x: log p(row | x), one observation for all rows or one for each.
            label: of points: log p(x | label), one class for all rows or one for each (n,).
            orders: of a table: so many orders of the columns, of whose p the mean is taken.
            smooth: of a table: give an entry that the training could not have held the mass 1 / (rows + 1), not 0.
            seed: of the other orders.
            on_block: called with the number of rows scored so far.

        Solvers and divergences of points are options of `inner.likelihood`.

        Raises:
            UsageError: an option of the other kind of model, or out of range.
            DataError: rows that cannot be used; the message names the row and the column.

        Example:
            >>> found = model.likelihood(motes.make_shape("moons", 3))
            >>> found.log_prob.shape, found.error.shape
            ((3,), (3,))
        """
        if isinstance(self.inner, TableModel):
            self._refuse({"label": label}, "likelihood", "A class of a table is a column of its rows.")
            self._refuse({"given": given}, "likelihood", "Missing entries of rows are left out of log p.")
            return self.inner.likelihood(data, orders=orders, smooth=smooth, seed=seed, on_block=on_block)
        self._refuse({"orders": orders, "smooth": smooth}, "likelihood", "log p of points has one order.", orders=1)
        return self.inner.likelihood(self._points(data), label=label, given=given, on_block=on_block)

    def bound(self, data: Any, *, variance: Variance | None = None, seed: int = 0, draws: int = 1) -> Bound:
        """The variational bound on -log p of points, term by term; see `PointModel.bound`.

        Raises:
            UsageError: a table, whose log p is exact, or a recipe whose schedule has no steps.

        Example:
            >>> steps = motes.fit(motes.make_shape("moons", 200), "ddpm", changes={"training.steps": 2}, verbose=False)
            >>> steps.bound(motes.make_shape("moons", 3)).nats.shape
            (3,)
        """
        inner = self._inside("bound", "log p of its rows is exact: use score_samples.")
        return inner.bound(self._points(data), variance=variance, seed=seed, draws=draws)

    # --- what is missing ---

    def impute(self, data: Any, *, draws: int | None = None, seed: int = 0, on_block: OnBlock = None) -> Any:
        """Fill in the missing entries by draws given the observed ones of each row, which come back to the bit.

        Args:
            data: rows (n, d) with missing entries, in any kind of table.
            draws: a list of as many tables; None gives one table.
            seed: of the draws.
            on_block: called with the number of rows filled in so far, of all draws together.

        Raises:
            DataError: an entry that its column cannot hold; the message names the row and the column.

        Example:
            >>> table.impute({"age": [31, 47], "smoker": ["no", None]})["age"].tolist()
            [31, 47]
            >>> draws = table.impute({"age": [31, 47], "smoker": ["no", None]}, draws=3)
            >>> len(draws), [one["smoker"][0] for one in draws]  # what is known comes back
            (3, ['no', 'no', 'no'])
        """
        count = 1 if draws is None else check_count(draws, "draws")
        kind = template_of(data)
        if isinstance(self.inner, TableModel):
            frame = self.inner.schema.named(data)
            tables = self.inner.impute(frame, draws=count, seed=seed, on_block=on_block)
            kind = without(kind, [j for j, name in enumerate(frame.names) if name not in tables[0].columns])
        else:
            self.inner.refuse_context("impute")
            filled = impute_draws(self.inner, self._points(data), count, seed=seed, on_block=on_block)
            tables = [as_frame(Table(one, self.columns)) for one in filled]
        made = [_with_index(table.like(kind), data) for table in tables]
        return made[0] if draws is None else made

    def predict(
        self,
        data: Any,
        column: str | None = None,
        *,
        quantiles: Sequence[float] = QUANTILES,
        draws: int = DRAWS,
        seed: int = 0,
    ) -> Any:
        """The likeliest class of points, (n,), or the distribution of one column of a table given the others.

        Args:
            data: n rows; those of a table need not have `column`.
            column: of a table.
            quantiles, draws, seed: of a column of numbers or dates: shares, and draws of each row.

        Returns:
            Of a table, a table of the same library with "label" and "p(...)", or "mean", "sd" and "q..." of each row.

        Raises:
            UsageError: a column that there is not or that does not vary, or points without classes.
            DataError: rows that cannot be used.

        Example:
            >>> sorted(table.predict({"age": [31, 47]}, "smoker"))
            ['label', 'p(no)', 'p(yes)']
            >>> sorted(table.predict({"smoker": ["no"]}, "age", quantiles=(0.1, 0.9)))
            ['mean', 'q0.1', 'q0.9', 'sd']
        """
        if isinstance(self.inner, PointModel):
            self._refuse({"column": column}, "predict", "Points have classes: leave `column` out.")
            return self.inner.predict(self._points(data))
        if column is None:
            raise UsageError(f"predict: got no column; expected one of {', '.join(self.columns)}.")
        found = self.inner.predict(data, column, quantiles=quantiles, draws=draws, seed=seed)
        return _with_index(found.as_kind_of(data), data)

    def predict_proba(self, data: Any, column: str | None = None) -> tuple[Array, list[Any]]:
        """p(class | row) of points or p(label | other columns) of a table: (n, l), and the l classes or labels.

        Raises:
            UsageError, DataError: as `predict`; or a column without labels.

        Example:
            >>> p, labels = table.predict_proba({"age": [31, 47]}, "smoker")
            >>> p.shape, labels
            ((2, 2), ['no', 'yes'])
        """
        if isinstance(self.inner, TableModel):
            if column is None:
                raise UsageError(f"predict_proba: got no column; expected one of {', '.join(self.columns)}.")
            return self.inner.predict_proba(data, column)
        self._refuse({"column": column}, "predict_proba", "Points have classes: leave `column` out.")
        found = self.inner.predict_proba(self._points(data))
        assert self.inner.classes is not None  # or it would have been refused
        return found, list(self.inner.classes.names)

    # --- how good it is ---

    def evaluate(
        self,
        data: Any = None,
        *,
        given: Any = None,
        n: int = ROWS,
        target: str | None = None,
        seed: int = 0,
        verbose: bool = False,
    ) -> Evaluation[PointDetails] | Evaluation[TableDetails] | Evaluation[PosteriorDetails]:
        """Compare samples with real rows: rows held out of the training, a fresh draw of a shape, or other rows.

        Args:
            data: a shape, a data set, a file or rows in memory; None takes what the model was trained on.
            given: of a model that was trained `given` x: what was observed with each row in memory. It is evaluated by
                the calibration of its posteriors, and by log p of the rows.
            n: samples, at most.
            target: of a table: a column that is predicted, after training on synthetic and on real rows.
            seed: of the samples and of the metrics.
            verbose: show progress.

        Raises:
            UsageError: rows that are not to be had: a table that was in memory has to be given again.
            DataError: rows with other columns, or that cannot be used.

        Example:
            >>> found = model.evaluate(motes.make_shape("moons", 200, seed=1), n=200)
            >>> found.severity  # two steps of training are too few
            'large'
        """
        from motes.diagnosis._evaluating import evaluate

        rows, reporter = data, Reporter(not verbose)
        if isinstance(self.inner, PointModel):
            self._refuse({"target": target}, "evaluate", "Points have no target.")
            rows = self._source(data)
        return evaluate(self.inner, rows, given=given, n=n, target=target, seed=seed, reporter=reporter)

    def diagnose(
        self, data: Any = None, *, given: Any = None, n: int = 8192, seed: int = 0
    ) -> Diagnosis | TableDiagnosis | Calibration:
        """Find out what is wrong with the model and how to fix it.

        Of points also: where the error of the samples is from. Of a table also: what the model knows of each column.

        Args:
            data: as in `evaluate`.
            given: as in `evaluate`; what is found of such a model is a `Calibration`.
            n: samples of points, at most; of a table up to 2,000 rows are scored.
            seed: of all that is drawn.

        Raises:
            UsageError: rows that are not to be had, or too few of them.

        Example:
            >>> fresh = {"age": [31, 47, 25, 62] * 5, "smoker": ["no", "yes", "no", "no"] * 5}
            >>> found = table.diagnose(fresh)
            >>> found.columns
            ('age', 'smoker')
        """
        from motes.diagnosis._after import diagnose_model
        from motes.diagnosis._of_tables import table_diagnosis
        from motes.diagnosis._posteriors import diagnose_posteriors, refuse_given

        if isinstance(self.inner, PointModel) and self.inner.context is not None:
            return diagnose_posteriors(self.inner, self._source(data), given, seed=seed)
        refuse_given(given)
        if isinstance(self.inner, TableModel):
            return table_diagnosis(self.inner, data, seed=seed)
        return diagnose_model(self.inner, self._source(data), n=n, seed=seed)

    def plot(
        self,
        data: Any = None,
        *,
        given: Any = None,
        truth: Any = None,
        n: int = 2000,
        seed: int = 0,
        style: str = "light",
    ) -> Axes | Figure:
        """A picture of samples: points of the plane, the distribution of each column, or pairs of parameters.

        Args:
            data: real rows of these columns, in any kind of table, for the columns of a table: drawn as areas.
            given: the observation, of a model that was trained `given` x: its draws are shown in pairs of columns, with
                lines around the smallest regions that hold 50 and 90 % of them.
            truth: the point (d,) that the observation is of, where it is known, or a mapping column -> number: marked.
            n: samples.
            seed: of the samples.
            style: "light" or "dark".

        Example:
            >>> axes = model.plot(n=100)
            >>> axes.get_title()
            '100 samples'
        """
        from motes import plots

        if isinstance(self.inner, TableModel):
            self._refuse({"given": given}, "plot", "Draw rows under conditions with motes.plots.marginals.")
            rows: Any = self.inner.sample(check_count(n, "samples"), seed=seed)
        else:
            rows = self.inner.sample(check_count(n, "samples"), seed=seed, given=given)
            if rows.ndim > 2:
                raise UsageError(f"plot: got {len(rows)} observations; expected one, such as given=x[0].")
        title = f"{n:,} samples"
        if isinstance(self.inner, PointModel) and self.inner.context is not None:
            self._refuse({"data": data}, "plot", "Mark the true parameters: truth=theta[0].")
            columns, marks = dict(zip(self.columns, rows.T, strict=True)), self._marks(truth)
            return plots.pairs(columns, contours=CONTOURS, truth=marks, title=title, seed=seed, style=style)
        self._refuse({"truth": truth}, "plot", "It is for a model of points given what was observed.")
        if self.kind == "points" and len(self.columns) == 2:
            self._refuse({"data": data}, "plot", "Draw the data with motes.plots.scatter.")
            return plots.scatter(rows, title=title, style=style)
        shown = (
            as_frame(Table(rows, self.columns))
            if isinstance(self.inner, PointModel)
            else self.inner.schema.contents(rows)
        )
        real = None if data is None else as_frame(data).select(shown.names)
        ours, theirs = ({name: rows[name] for name in shown.names} for rows in (shown, shown if real is None else real))
        return plots.marginals(ours, None if real is None else theirs, title=title, style=style)

    def report(
        self,
        path: str | Path,
        data: Any = None,
        *,
        given: Any = None,
        n: int = ROWS,
        target: str | None = None,
        show_rows: bool = False,
        seed: int = 0,
    ) -> Path:
        """Write the evaluation as one HTML page; returns its path. The other arguments are those of `evaluate`.

        The page of a table shows no real row, unless `show_rows` asks for ten training rows and the ten held-out rows
        that the model finds least likely.

        Raises:
            UsageError: as `evaluate`; a name that does not end in .html, or a folder that is not there or cannot be
                written to.
            DataError: as `evaluate`.

        Example:
            >>> model.report("report.html", motes.make_shape("moons", 200, seed=1), n=200).name
            'report.html'
        """
        check_page(path)
        if self.kind == "points":
            self._refuse({"show_rows": show_rows}, "report", "Its page always shows them.")
        found = self.evaluate(data, given=given, n=n, target=target, seed=seed)
        return write_page(found, path, show_rows=show_rows)

    # --- averages of the weights ---

    @property
    def averages(self) -> Averages | None:
        """What averages of any length are made from; None where the training kept none, as of a table by default."""
        return self.inner.averages

    def averaged_over(self, sigma_rel: float) -> Model:
        """The same model with another average of its weights, over this share of its training, from 0.02 to 0.25.

        Raises:
            UsageError: a length out of range, or a training that kept no averages: `training.averages` of points, and
                `table.averages` of a table, say how many are stored.
            ModelFileError: they are damaged, or of another model.

        Example:
            >>> model.averaged_over(0.1).sample(3).shape
            (3, 2)
        """
        return Model(self.inner.averaged_over(sigma_rel), self.template)

    # --- points alone ---

    @property
    def denoiser(self) -> Denoiser:
        """Of points: E[x_0 | x_t], in standardised units."""
        return self._inside("denoiser", "Its networks are in `inner.models`.").denoiser

    @property
    def grid(self) -> NDArray[np.float32]:
        """Of points: the times that its sampler stops at, from 1 down to 0, (N+1,)."""
        return self._inside("grid", "Its reverse process reveals one column after another.").grid

    @property
    def standardiser(self) -> Standardiser:
        """Of points: between the data's units and those of the network."""
        return self._inside("standardiser", "Its columns have kinds, in `inner.schema`.").standardiser

    def with_denoiser(self, denoiser: Denoiser) -> Model:
        """Of points: the same model with another denoiser, such as an exact one, in the place of its own.

        Example:
            >>> exact = motes.truth("moons").oracle(model.denoiser.schedule, model.standardiser)
            >>> model.with_denoiser(exact).sample(3).shape
            (3, 2)
        """
        inner = self._inside("with_denoiser", "Its networks are in `inner.models`.")
        return Model(inner.with_denoiser(denoiser), self.template)

    # --- on disk ---

    def save(self, path: str | Path) -> None:
        """Write one `.safetensors` file, whole or not at all, which `motes.load` and the command line read.

        Args:
            path: its name; `.safetensors` is appended to one without a suffix.

        Raises:
            UsageError: a name with another suffix, or a kind of table that no file can hold.
            OSError: the folder is not there, cannot be written, or is full.

        Example:
            >>> model.save("moons.safetensors")
            >>> motes.load("moons.safetensors")
            Model(points of 2 columns, 17,538 parameters)
        """
        if isinstance(self.inner, PointModel):
            self.inner.check_described()
        tensors, about = self.inner.parts()
        keep(self.template, tensors, about)
        write_checkpoint(complete_name(path), tensors, about)

    def _natives(self, points: Array) -> Any:
        """Points (n, d) as a table, or (m, n, d) as m of them; arrays stay one array."""
        if points.ndim == 2:
            return self._native(points)
        made = [self._native(some) for some in points]
        return np.stack(made) if isinstance(made[0], np.ndarray) else made

    def _native(self, rows: Any) -> Any:
        frame = rows if isinstance(rows, Frame) else as_frame(Table(rows, self.columns))
        return frame if self.template is None else frame.like(self.template)

    def _points(self, data: Any) -> Any:
        """Rows in any kind of table as numbers (n, d), in the order of the model's columns."""
        data = plain(data)
        if isinstance(data, Table | list | tuple) or (isinstance(data, np.ndarray) and data.dtype.kind in "fiub"):
            return data.x if isinstance(data, Table) else data
        assert isinstance(self.inner, PointModel)  # of a table nobody asks for points
        return matrix_of(self.inner, as_frame(data, self.columns if isinstance(data, np.ndarray) else None), "the data")

    def _source(self, data: Any) -> Any:
        return data if data is None or isinstance(data, str) else self._points(data)

    def _inside(self, call: str, instead: str) -> PointModel:
        if isinstance(self.inner, TableModel):
            raise UsageError(f"{call} is for models of points; this one is of a table. {instead}")
        return self.inner

    def _table(self, call: str, instead: str) -> TableModel:
        if isinstance(self.inner, PointModel):
            raise UsageError(f"{call} is for models of tables; this one is of points. {instead}")
        return self.inner

    def _marks(self, truth: Any) -> dict[str, float] | None:
        """Column -> the number to mark, of a point (d,) or a mapping.

        Raises:
            UsageError: another number of columns, an unknown one, or what is not a finite number.
        """
        if truth is None:
            return None
        named = {str(name): truth[name] for name in truth} if hasattr(truth, "keys") else None
        try:
            numbers = np.asarray(truth if named is None else list(named.values()), np.float64)
        except (TypeError, ValueError):
            numbers = np.array([np.nan])
        for name in named or ():
            if name not in self.columns:
                raise UsageError(f"plot, truth: {unknown('column', name, self.columns)}")
        names = self.columns if named is None else tuple(named)
        if numbers.shape != (len(names),) or not np.isfinite(numbers).all():
            raise UsageError(
                f"plot: got truth = {truth!r}; expected a number for each of {', '.join(self.columns)}, such as "
                "truth=theta[0]."
            )
        return dict(zip(names, numbers.tolist(), strict=True))

    def _refuse(self, options: Mapping[str, Any], call: str, instead: str, **usual: Any) -> None:
        """Refuse options of the other kind of model that differ from their default."""
        for name, value in options.items():
            if value is not None and value is not False and not (name in usual and value == usual[name]):
                message = "a table" if self.kind == "table" else "points"
                raise UsageError(f"{call}: got {name} = {value!r}, and this model is of {message}. {instead}")


def _of_points(how: Sampling) -> Sampling:
    """With the `PointModel` inside of a weak `Model`."""
    guidance = how.guidance
    if not (isinstance(guidance, Guidance) and isinstance(guidance.weak, Model)):
        return how
    return replace(how, guidance=replace(guidance, weak=guidance.weak._inside("guidance", "Give one of points.")))


def load(path: str | Path) -> Model:
    """Read a model file, or the one in the folder of a run. No code in it is run.

    Raises:
        NoModelError: no such file.
        ModelFileError: another format, any damage, or a part of your own that is not registered.

    Example:
        >>> model.save("moons.safetensors")
        >>> motes.load("moons.safetensors").sample(3).shape
        (3, 2)
    """
    path = model_path(path)
    tensors, about = read_checkpoint(path)
    inner = of_checkpoint(tensors, about, path)
    with reading(path), np.errstate(all="ignore"):
        # That of an estimator with classes has no column for these, and the rows of its model have one.
        template = None if "estimator.target" in tensors else kept(tensors, about)
        model = Model(inner, np.empty((0, 2)) if template is None and inner.source in SHAPES else template)
        model._native(inner.example)
    return model


def _with_index(table: Any, like: Any) -> Any:
    """A pandas table with the index of another one."""
    if hasattr(table, "iloc") and hasattr(like, "iloc"):
        table.index = like.index
    return table
