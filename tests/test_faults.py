"""Each planted fault is named first, and the options that are printed with it halve that part of the error."""

import json

import pytest
from tests.conftest import benchmark

import motes
from motes.evaluation import Diagnosis
from motes.recipe_files import recipe_names

pytestmark = pytest.mark.optimised

faults = benchmark("faults")
CASES = list(faults.cases(""))


@pytest.mark.long  # the longest, so the first
@pytest.mark.parametrize(("recipes", "most"), [(("default",), 1), (("ddpm",), 0), (("posterior", "any", "table"), 0)])
def test_of_a_hundred_clean_trainings_one_at_most_has_a_finding(recipes, most, tmp_path, record_property):
    alarms, trainings = [], list(faults.clean(100, recipes))
    for recipe, source, seed in trainings:
        found = faults.diagnosed(recipe, source, seed, tmp_path)
        assert not isinstance(found, Diagnosis) or found.split.doubts == (), (recipe, source, seed)
        alarms += [(recipe, source, seed, finding.name) for finding in found.findings]
    record_property("clean", json.dumps({"recipes": recipes, "trainings": len(trainings), "findings": alarms}))
    assert len({alarm[:3] for alarm in alarms}) <= most, alarms


def test_the_clean_trainings_are_a_hundred_of_all_recipes_but_the_tutorial():
    chosen = list(faults.clean(1000))
    assert len(set(chosen)) == 100
    assert {recipe for recipe, _, _ in chosen} == set(recipe_names()) - {"tutorial"}
    assert {source for recipe, source, _ in chosen if recipe == "default"} >= set(motes.data.SHAPES)
    assert len({source for recipe, source, _ in chosen if recipe == "table"}) == 5


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.*points are not finite")  # as it is with a learning rate that is too high
@pytest.mark.parametrize(("name", "fault", "source"), CASES, ids=[f"{name}, {source}" for name, _, source in CASES])
def test_a_planted_fault_is_named_first_and_its_fix_halves_the_error(name, fault, source, tmp_path, record_property):
    case = faults.run(name, fault, source, tmp_path)
    record_property("faults", json.dumps(case))
    assert case["findings"], case
    assert case["findings"][0] in fault.findings, case
    assert case["after"] <= case["before"] / 2, case
