"""What decides a run's result."""

from __future__ import annotations

from typing import Any, Protocol

from squeezebench.base.digests import digest_of
from squeezebench.schema import record
from squeezebench.schema.models import AnyModel, RecurrentSettings
from squeezebench.schema.start import without_place
from squeezebench.schema.stored import Part
from squeezebench.schema.task import TaskSpec, without_places
from squeezebench.schema.training import TrainingSettings


class HasDigest(Protocol):
    """A method's file, or anything else that says which source decides the result."""

    @property
    def digest(self) -> str: ...


class RunSpec(Part):
    """Everything that decides a run's result, as the plan resolved it."""

    experiment: str = ""
    task: TaskSpec
    fingerprint: str = ""  # of the data files a task reads
    method: str
    settings: dict[str, Any]
    varied: dict[str, Any] = {}
    seed: int = 0
    training: TrainingSettings = TrainingSettings()
    model: AnyModel = RecurrentSettings()  # the dense model that ratios are taken against
    protocol: record.Protocol = "sound"
    plugins: tuple[str, ...] = ()  # where the source is looked for; its digest is a part of the fingerprint
    tuning: str | None = None  # the study that picked the settings; they decide the result, not how they were found

    def inputs_digest(self, method: HasDigest) -> str:
        """What a kept record has to match; names, descriptions, and where the data lie play no part."""
        return self.digest_with(method.digest)

    def digest_with(self, method_digest: str) -> str:
        """inputs_digest as of a method file with this digest."""
        content = self._content(method_digest)
        return digest_of(content | {"settings": without_place(content["settings"]), "task": self.task_content()})

    def made(self, inputs_digest: str, method_digest: str) -> bool:
        """Whether a record with these digests is of this run. Up to schema 3, it also mattered where the data lay."""
        return inputs_digest in (self.digest_with(method_digest), digest_of(self._content(method_digest)))

    def _content(self, method_digest: str) -> dict[str, Any]:
        content = self.model_dump(mode="json", exclude={"experiment", "varied", "plugins", "tuning"})
        return content | {"method_file": method_digest}

    def task_content(self) -> dict[str, Any]:
        """The task without the options that name files: the fingerprint covers what is in these."""
        return without_places(self.task.model_dump(mode="json"), self.fingerprint)
