"""The fixed sentences of a report."""

TITLES = {
    "columns": "Columns",
    "missing": "Missing cells",
    "associations": "Associations",
    "classifier": "Classifier",
    "usefulness": "Usefulness",
    "likelihood": "Likelihood",
    "privacy": "Privacy",
}
LEVELS = {"good": "like real", "slight": "a little off", "bad": "off"}
EXPLAINED = {
    "columns": "Each column by itself. The distance is a share of rows: how much would have to move, at the "
    "worst place, for the two to agree. W1 is how far numbers would have to be carried, in standard "
    "deviations. The tick shows the same distance for real rows of the training.",
    "associations": "How much one column tells of another, from 0 (nothing) to 1 (all); between numbers with its "
    "sign. The first two pictures should look alike, and the third should be empty.",
    "classifier": "Boosted trees learn to tell made rows from real ones, and are asked about rows that they have "
    "not seen. Right in 50 of 100 cases is guessing.",
    "usefulness": "The same model learns the target once from made rows and once from real ones; both are tested "
    "on the same held-out real rows.",
    "likelihood": "How likely the model holds real rows, in nats per row: more is better. Rows of the training "
    "that are much more likely than held-out ones were learned by heart.",
    "privacy": "How far it is from each row to the training row closest to it. Held-out rows were no part of "
    "the training, so made rows should lie as far off as they do.",
}
METHODS = {
    "a real draw": "Each number stands beside the same number for training rows, as many of them as were made: what"
    " a perfect model would get.",
    "what counts": "A difference is believed when chance would give it in less than 1 of 100 cases, over all "
    "columns or pairs together. There is a handful of such tests, so a perfect model fails one of "
    "them in about one report of fifteen. A difference that is believed but small is called a little"
    " off.",
    "columns": "Numbers: the Kolmogorov-Smirnov distance. Labels: total variation, tested by chi squared. "
    "Holm's correction over the columns. Intervals are for 95 %.",
    "missing": "Fisher's exact test of the shares of missing cells, with Holm's correction.",
    "associations": "Numbers: Spearman's rank correlation. Labels: Cramér's V without its bias. One of each: the "
    "correlation ratio of the ranks without its bias. Tests by 399 permutations of the rows, for all"
    " pairs together.",
    "classifier": "50 boosted trees learn from one half of the rows and are tested on the other; the p-value is "
    "hypergeometric. A column is telling by how much the accuracy falls when its cells are shuffled.",
    "usefulness": "100 boosted trees, five times, each time without a fifth of the rows. Labels are scored by the "
    "area under the ROC curve (of each against the rest), numbers by R² of the column as the model "
    "sees it. Intervals hold the noise of the rows of the test and of the training.",
    "likelihood": "Mean of log p over rows, with its normal interval; the difference is tested one-sided.",
    "privacy": "Euclidean distance between columns as the model sees them, in standard deviations; a label that"
    " differs, or a cell that only one row has, counts as 1. The share of near rows is tested "
    "exactly (negative hypergeometric), the number of copies by Fisher's test.",
}
