"""The text of a method file: a dense network, and what a test adds."""

TEXT = '''"""A method made for a test."""

{before}

from squeezebench.method import Method, dense_classifier


class {name}(Method):
    """Dense, but for what a test adds."""

    title = paper = "{title}"

    def build(self, task):
        {first}
        return dense_classifier(task, self.settings)

    {more}
'''


def method_file(name: str = "Made", title: str = "synthetic", before: str = "", first: str = "", more: str = "") -> str:
    """before: imports and what else comes ahead of the class; first: how build() begins; more: the class's further
    lines, from the second one on indented as they stand in it."""
    return TEXT.format(name=name, title=title, before=before, first=first, more=more)
