"""Predictors that ask other predictors: bagging, voting, stacking, boosting by weights, one against another."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn import ensemble, linear_model, multiclass
from sklearn.base import is_classifier, is_regressor
from sklearn.semi_supervised import SelfTrainingClassifier

from starterkit.training.export.families.nodes import (
    Answer,
    Block,
    CannotExport,
    Family,
    Nodes,
    is_a,
    squared_distances,
    summed,
)


def averaged(nodes: Nodes, names: Sequence[str]) -> str:
    return nodes.add("Div", summed(nodes, names), nodes.number(float(len(names))))


def probabilities_of(answer: Answer) -> str:
    if not answer.probabilities:
        raise CannotExport("it is asked for probabilities and has none; use a classifier that has")
    return answer.probabilities


def one_hot(nodes: Nodes, place: str, classes: int) -> str:
    """n × k: one at each row's class."""
    return nodes.add("Gather", nodes.constant(np.eye(classes)), place, axis=0)


def response_of(estimator: Any, nodes: Nodes, answer: Answer, *methods: str) -> str:
    """The first of the methods that a classifier has; of two classes the second one's column alone."""
    for method in methods:
        if method == "decision_function" and hasattr(estimator, method):
            if not answer.scores:
                raise CannotExport("its decision_function has no graph; use another classifier")
            return answer.scores
        if method == "predict_proba" and hasattr(estimator, method):
            found = probabilities_of(answer)
            return nodes.pick(found, [1]) if len(estimator.classes_) == 2 else found
    raise CannotExport("it has neither probabilities nor decision values; use a classifier that has")


class Bagged(Family):
    """`BaggingRegressor` and `BaggingClassifier`: the mean of the answers, each from its own columns."""

    def takes(self, kind: type) -> bool:
        return kind in (ensemble.BaggingClassifier, ensemble.BaggingRegressor)

    def answer(self, estimator: Any, nodes: Nodes) -> Answer:
        answers = []
        for place, (one, columns) in enumerate(zip(estimator.estimators_, estimator.estimators_features_, strict=True)):
            every = len(columns) == nodes.width and (np.asarray(columns) == np.arange(nodes.width)).all()
            blocks = list(nodes.blocks) if every else nodes.select([int(column) for column in columns])
            answers.append((one, nodes.answer(one, blocks, f"estimators_[{place}]")))
        if not is_classifier(estimator):
            return Answer(values=averaged(nodes, [answer.values for _, answer in answers]))
        classes = len(estimator.classes_)
        shares = []
        for one, answer in answers:
            known = len(one.classes_)
            share = answer.probabilities or one_hot(nodes, answer.place, known)
            shares.append(share if known == classes else nodes.linear(share, np.eye(classes)[one.classes_], 0.0))
        mean = averaged(nodes, shares)
        return Answer(place=nodes.largest(mean), probabilities=mean)


class Votes(Family):
    """`VotingRegressor` and `VotingClassifier`, soft and hard."""

    def takes(self, kind: type) -> bool:
        return kind in (ensemble.VotingClassifier, ensemble.VotingRegressor)

    def answer(self, estimator: Any, nodes: Nodes) -> Answer:
        named = [(name, one) for name, one in estimator.estimators if one != "drop"]
        answers = [
            nodes.answer(one, nodes.blocks, name) for (name, _), one in zip(named, estimator.estimators_, strict=True)
        ]
        weights = estimator._weights_not_none
        weights = np.ones(len(answers)) if weights is None else np.asarray(weights, dtype=np.float64)
        if is_regressor(estimator):
            return Answer(values=self._mean(nodes, [answer.values for answer in answers], weights))
        if estimator.voting == "hard":
            classes = len(estimator.classes_)
            votes = [one_hot(nodes, answer.place, classes) for answer in answers]
            return Answer(place=nodes.largest(self._weighed(nodes, votes, weights)))
        mean = self._mean(nodes, [probabilities_of(answer) for answer in answers], weights)
        return Answer(place=nodes.largest(mean), probabilities=mean)

    def _weighed(self, nodes: Nodes, names: list[str], weights: Any) -> str:
        return summed(
            nodes,
            [
                name if weight == 1.0 else nodes.add("Mul", name, nodes.number(weight))
                for name, weight in zip(names, weights, strict=True)
            ],
        )

    def _mean(self, nodes: Nodes, names: list[str], weights: Any) -> str:
        return nodes.add("Div", self._weighed(nodes, names, weights), nodes.number(weights.sum()))


class Stacks(Family):
    """`StackingRegressor` and `StackingClassifier`: the answers are the last one's columns."""

    def takes(self, kind: type) -> bool:
        return kind in (ensemble.StackingClassifier, ensemble.StackingRegressor)

    def answer(self, estimator: Any, nodes: Nodes) -> Answer:
        classes = len(getattr(estimator, "classes_", ()))
        named = [name for name, one in estimator.estimators if one != "drop"]
        blocks = []
        for name, one, method in zip(named, estimator.estimators_, estimator.stack_method_, strict=True):
            answer = nodes.answer(one, nodes.blocks, name)
            if method == "predict":
                made = answer.values or nodes.upright(nodes.double(answer.place))
                blocks.append(Block(made, 1))
            else:
                width = 1 if classes == 2 else classes
                blocks.append(Block(response_of(one, nodes, answer, method), width))
        if estimator.passthrough:
            blocks += nodes.blocks
        return nodes.answer(estimator.final_estimator_, blocks, "final_estimator")


class Boosted(Family):
    """`AdaBoostClassifier` and `AdaBoostRegressor`: weighted votes, and the weighted median."""

    def takes(self, kind: type) -> bool:
        return kind in (ensemble.AdaBoostClassifier, ensemble.AdaBoostRegressor)

    def answer(self, estimator: Any, nodes: Nodes) -> Answer:
        answers = [nodes.answer(one, nodes.blocks, "estimator") for one in estimator.estimators_]
        weights = np.asarray(estimator.estimator_weights_, dtype=np.float64)[: len(answers)]
        if is_regressor(estimator):
            return Answer(values=self._median(nodes, [answer.values for answer in answers], weights))
        classes, votes = len(estimator.classes_), []
        for one, answer, weight in zip(estimator.estimators_, answers, weights, strict=True):
            places = np.searchsorted(estimator.classes_, one.classes_)
            table = np.full((len(places), classes), -1 / (classes - 1) * weight)
            table[np.arange(len(places)), places] = weight
            votes.append(nodes.add("Gather", nodes.constant(table), answer.place, axis=0))
        total = nodes.add("Div", summed(nodes, votes), nodes.number(weights.sum()))
        if classes > 2:
            share = nodes.add("Div", total, nodes.number(float(classes - 1)))
            place = nodes.largest(total)
            return Answer(place=place, scores=total, probabilities=nodes.add("Softmax", share, axis=1))
        score = nodes.add("Sub", nodes.pick(total, [1]), nodes.pick(total, [0]))
        halves = nodes.add("Div", nodes.join([nodes.add("Neg", score), score]), nodes.number(2.0))
        return Answer(place=nodes.beyond(score), scores=score, probabilities=nodes.add("Softmax", halves, axis=1))

    def _median(self, nodes: Nodes, values: list[str], weights: Any) -> str:
        ordered, order = nodes.canvas.name("ordered"), nodes.canvas.name("order")
        joined, count = nodes.join(values), nodes.constant(np.array([len(values)]))
        nodes.several("TopK", [joined, count], [ordered, order], axis=1, largest=0)
        passed = nodes.add("Gather", nodes.constant(weights), order, axis=0)
        passed = nodes.add("CumSum", passed, nodes.constant(np.array(1)))
        half = nodes.add("Mul", nodes.pick(passed, [len(values) - 1]), nodes.number(0.5))
        reached = nodes.double(nodes.add("GreaterOrEqual", passed, half))
        place = nodes.add("ArgMax", reached, axis=1, keepdims=1)
        return nodes.add("GatherElements", ordered, place, axis=1)


# --- One predictor that is asked in another way.


class Wrapped(Family):
    """`RANSACRegressor` and `SelfTrainingClassifier`: the one that they found."""

    def takes(self, kind: type) -> bool:
        return kind in (linear_model.RANSACRegressor, SelfTrainingClassifier)

    def answer(self, estimator: Any, nodes: Nodes) -> Answer:
        return nodes.answer(estimator.estimator_, nodes.blocks, "estimator")


# --- Several classes by classifiers of two.


class OneAgainst(Family):
    """`OneVsRestClassifier`, `OneVsOneClassifier` and `OutputCodeClassifier`."""

    def takes(self, kind: type) -> bool:
        kinds = (multiclass.OneVsOneClassifier, multiclass.OneVsRestClassifier, multiclass.OutputCodeClassifier)
        return kind in kinds

    def answer(self, estimator: Any, nodes: Nodes) -> Answer:
        if is_a(estimator, multiclass.OneVsOneClassifier):
            return self._pairs(estimator, nodes)
        answers, said = [], []
        for one in estimator.estimators_:
            if hasattr(one, "y_"):  # it saw one class alone, and says so to every row
                said.append(self._always(nodes, float(one.y_[0])))
                answers.append(Answer(probabilities=nodes.both(said[-1])))
                continue
            answers.append(nodes.answer(one, nodes.blocks, "estimator"))
            said.append(response_of(one, nodes, answers[-1], "decision_function", "predict_proba"))
        scores = nodes.join(said)
        if is_a(estimator, multiclass.OutputCodeClassifier):
            return Answer(place=self._nearest(nodes, scores, estimator.code_book_))
        decides = hasattr(estimator.estimators_[0], "decision_function")
        shares = [answer.probabilities for answer in answers]
        probabilities = ""
        if all(shares):
            probabilities = nodes.join([nodes.pick(one, [1]) for one in shares])
        if len(said) == 1:
            place = nodes.beyond(scores, 0.0 if decides else 0.5)
            return Answer(
                place=place,
                scores=scores if decides else "",
                probabilities=nodes.both(probabilities) if probabilities else "",
            )
        if probabilities:
            total = nodes.total(probabilities)
            none = nodes.add("Equal", total, nodes.number(0.0))
            probabilities = nodes.add("Div", probabilities, nodes.add("Where", none, nodes.number(1.0), total))
        place = nodes.largest(scores)
        return Answer(place=place, scores=scores if decides else "", probabilities=probabilities)

    def _always(self, nodes: Nodes, value: float) -> str:
        column = next(name for name, is_text in nodes.columns() if not is_text)
        return nodes.add("Where", nodes.add("IsNaN", column), nodes.number(value), nodes.number(value))

    def _nearest(self, nodes: Nodes, scores: str, book: Any) -> str:
        return nodes.add("ArgMin", squared_distances(nodes, scores, book), axis=1, keepdims=0)

    def _pairs(self, estimator: Any, nodes: Nodes) -> Answer:
        if estimator.pairwise_indices_ is not None:
            raise CannotExport("its classifiers take a precomputed kernel; use one that takes columns")
        said, votes = [], []
        for one in estimator.estimators_:
            answer = nodes.answer(one, nodes.blocks, "estimator")
            said.append(response_of(one, nodes, answer, "decision_function", "predict_proba"))
            votes.append(nodes.upright(nodes.double(answer.place)))
        scores = pair_scores(nodes, nodes.join(votes), nodes.join(said), len(estimator.classes_))
        if len(estimator.classes_) > 2:
            return Answer(place=nodes.largest(scores), scores=scores)
        second = nodes.pick(scores, [1])
        decides = hasattr(estimator.estimators_[0], "decision_function")
        return Answer(place=nodes.beyond(second, 0.0 if decides else 0.5), scores=second)


def pair_scores(nodes: Nodes, votes: str, confidences: str, classes: int) -> str:
    """scikit-learn's ``_ovr_decision_function``: votes of the pairs, and a little for how sure they are."""
    pairs = [(first, second) for first in range(classes) for second in range(first + 1, classes)]
    signs, firsts = np.zeros((len(pairs), classes)), np.zeros(classes)
    for place, (first, second) in enumerate(pairs):
        signs[place, first], signs[place, second] = -1.0, 1.0
        firsts[first] += 1.0
    counted = nodes.linear(votes, signs, firsts)
    sure = nodes.linear(confidences, signs, 0.0)
    spread = nodes.add("Mul", nodes.add("Add", nodes.add("Abs", sure), nodes.number(1.0)), nodes.number(3.0))
    return nodes.add("Add", counted, nodes.add("Div", sure, spread))
