# Reads the syntax tree of every file that is named as an argument, or of all; runs nothing of the project. Each finding
# is one line of JSON. Defence in depth, no proof of anything: a program that wants to hide finds a way.
import ast, json, os, sys
from importlib.machinery import PathFinder

# Where the image has its packages.
PACKAGES = ["/opt/python"]
CALLS = {
    "eval": "evaluates a text as a program",
    "exec": "executes a text as a program",
    "os.system": "runs a shell",
    "os.popen": "runs a shell",
    "subprocess.getoutput": "runs a shell",
    "subprocess.getstatusoutput": "runs a shell",
    "pickle.load": "loads objects that can run programs",
    "pickle.loads": "loads objects that can run programs",
    "marshal.load": "loads code",
    "marshal.loads": "loads code",
    "ctypes.CDLL": "calls machine code",
    "ctypes.cdll.LoadLibrary": "calls machine code",
    "os._exit": "ends the process without a word to the runner of the tests",
}
SHELLS = {"subprocess." + name for name in ("run", "call", "check_call", "check_output", "Popen")}
# Only a program that wants to know whether it is being tested asks for these.
WATCHED = {"PYTEST_CURRENT_TEST", "PYTEST_VERSION"}


def say(check, file, line, rule, severity, message):
    print(json.dumps([check, file, line, rule, severity, message]))


class Names(ast.NodeVisitor):
    """Local names of imported modules and functions."""

    def __init__(self):
        self.known, self.imports, self.guarded = {}, [], 0

    def visit_Import(self, node):
        for each in node.names:
            self.known[each.asname or each.name.split(".")[0]] = each.name if each.asname else each.name.split(".")[0]
            self.note(each.name, node.lineno)

    def visit_ImportFrom(self, node):
        if node.level == 0 and node.module:
            for each in node.names:
                self.known[each.asname or each.name] = node.module + "." + each.name
            self.note(node.module, node.lineno)

    def note(self, name, line):
        if not self.guarded:
            self.imports.append((name.split(".")[0], line))

    # What may be missing without harm: under `try` or `if`, and in a function that perhaps nobody calls.
    def guard(self, node):
        self.guarded += 1
        self.generic_visit(node)
        self.guarded -= 1

    visit_Try = visit_TryStar = visit_If = visit_FunctionDef = visit_AsyncFunctionDef = guard


def dotted(node, known):
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    parts.append(known.get(node.id, node.id))
    return ".".join(reversed(parts))


def is_constant(node):
    return isinstance(node, ast.Constant)


def patterns(tree, known, file):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            call(node, dotted(node.func, known), file)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name in ("__eq__", "__ne__"):
            body = [each for each in node.body if not (isinstance(each, ast.Expr) and is_constant(each.value))]
            if len(body) == 1 and isinstance(body[0], ast.Return) and is_constant(body[0].value):
                if isinstance(body[0].value.value, bool):
                    say("patterns", file, node.lineno, "always-equal", "high", "`%s` gives the same answer for everything" % node.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in WATCHED:
            say("patterns", file, node.lineno, "asks-for-tests", "high", "asks whether it is being tested")


def call(node, name, file):
    if name in ("builtins.eval", "builtins.exec"):
        name = name.removeprefix("builtins.")
    if name in CALLS:
        # A constant text is read by whoever reads the program.
        if name in ("eval", "exec") and node.args and is_constant(node.args[0]):
            return
        severity = "high" if name in ("eval", "exec", "os._exit") else "medium"
        say("patterns", file, node.lineno, "dangerous-call", severity, "`%s` %s" % (name, CALLS[name]))
    elif name in SHELLS:
        for each in node.keywords:
            if each.arg == "shell" and not (is_constant(each.value) and not each.value.value):
                say("patterns", file, node.lineno, "dangerous-call", "high", "`%s` runs a shell" % name)
    elif name == "yaml.load" and not any("Safe" in ast.dump(each) for each in [*node.args[1:], *node.keywords]):
        say("patterns", file, node.lineno, "dangerous-call", "medium", "`yaml.load` without a safe loader makes any object")


def own_names(files):
    names = set()
    for file in files:
        parts = file.split("/")
        names.update(parts[:-1])
        names.add(parts[-1].split(".")[0])
    return names


def main():
    # The project's files are data: none of them is on the path, and nothing is imported.
    every = []
    for folder, folders, files in os.walk("/workspace"):
        below = os.path.relpath(folder, "/workspace")
        every += [file if below == "." else below + "/" + file for file in files if file.endswith((".py", ".pyi", ".so"))]
        folders[:] = [each for each in folders if each != ".git"]
    own = own_names(every)
    asked = sys.argv[1:] or sorted(file for file in every if file.endswith(".py"))
    for file in asked:
        try:
            with open("/workspace/" + file, "rb") as opened:
                tree = ast.parse(opened.read(), file)
            names = Names()
            names.visit(tree)
            patterns(tree, names.known, file)
        except (SyntaxError, ValueError) as error:
            say("syntax", file, getattr(error, "lineno", None) or 1, "syntax-error", "high", str(getattr(error, "msg", error)))
            continue
        except (RecursionError, MemoryError):
            say("syntax", file, 1, "too-deep", "high", "the syntax is nested too deeply to be read")
            continue
        for name, line in names.imports:
            if name in sys.stdlib_module_names or name in own or PathFinder.find_spec(name, PACKAGES):
                continue
            say("imports", file, line, "dependency-not-in-image", "medium", name)
    print(json.dumps(["end", "", 0, "", "", str(len(asked))]))


main()
