"""Plans domains with GTPyhop's recursive strategy: one domain of JSON a line in, one answer a line out.

An answer is a plan as a list of texts, null where there is none, or "gave-up" after too many steps.
Bindings are found here by trying every object for every variable: another way than the planner's.
"""

import contextlib
import io
import itertools
import json
import sys

with contextlib.redirect_stdout(io.StringIO()):
    import gtpyhop

STEPS_MAX = 20_000
sys.setrecursionlimit(20_000)


class GaveUp(Exception):
    pass


class Steps:
    count = 0

    @classmethod
    def take(cls):
        cls.count += 1
        if cls.count > STEPS_MAX:
            raise GaveUp


def bound(atom, binding):
    return tuple(binding.get(word, word) for word in atom.split())


def condition(text):
    return (text[4:], False) if text.startswith("not ") else (text, True)


def holds(state, conditions, binding):
    return all((bound(atom, binding) in state.facts) == wanted for atom, wanted in map(condition, conditions))


def action(operator):
    parameters = operator["head"].split()[1:]

    def act(state, *arguments):
        Steps.take()
        binding = dict(zip(parameters, arguments))
        if not holds(state, operator["when"], binding):
            return False
        state.facts -= {bound(atom, binding) for atom in operator["deletes"]}
        state.facts |= {bound(atom, binding) for atom in operator["adds"]}
        # An action that changes nothing is left out of a plan.
        state.clock += 1
        return state

    act.__name__ = operator["head"].split()[0]
    return act


def bindings(state, method, arguments):
    binding = {}
    for parameter, argument in zip(method["head"].split()[1:], arguments):
        if binding.setdefault(parameter, argument) != argument:
            return []
    words = [word for text in method["when"] for word in condition(text)[0].split()[1:]]
    free = [word for word in dict.fromkeys(words) if word.startswith("?") and word not in binding]
    objects = sorted({word for fact in state.facts for word in fact[1:]})
    tried = (binding | dict(zip(free, values)) for values in itertools.product(objects, repeat=len(free)))
    return [one for one in tried if holds(state, method["when"], one)]


def ways(method, most):
    """A method has one answer in GTPyhop: here it is one for each place among the bindings."""

    def way(rank):
        def do(state, *arguments):
            Steps.take()
            found = bindings(state, method, arguments)
            return [bound(task, found[rank]) for task in method["then"]] if rank < len(found) else False

        do.__name__ = f"{method['name']}_{rank}"
        return do

    return [way(rank) for rank in range(most)]


def answer(number, problem):
    with contextlib.redirect_stdout(io.StringIO()):
        gtpyhop.Domain(f"d{number}")
        gtpyhop.set_recursive_planning("recursive_dfs")
        gtpyhop.set_verbose_level(0)
        gtpyhop.declare_actions(*(action(one) for one in problem["operators"].values()))
        for task, methods in problem["methods"].items():
            most = problem["objects"] ** 2
            gtpyhop.declare_task_methods(task, *(way for one in methods for way in ways(one, most)))
        state = gtpyhop.State("s", facts={tuple(fact.split()) for fact in problem["facts"]}, clock=0)
        Steps.count = 0
        try:
            plan = gtpyhop.find_plan(state, [tuple(task.split()) for task in problem["tasks"]])
        except (GaveUp, RecursionError):
            return "gave-up"
    return [" ".join(step) for step in plan] if plan is not False and plan is not None else None


for number, line in enumerate(sys.stdin):
    print(json.dumps(answer(number, json.loads(line))), flush=True)
