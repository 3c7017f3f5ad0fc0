"""Knowledge distillation: a narrow network learns from the labels and from the outputs of the trained dense network."""

from squeezebench.method import FromDense, setting
from squeezebench.method.narrow import NarrowDense, NarrowSettings


class Distillation(FromDense, NarrowDense):
    """(1 - a) CE(y, q_1) + a T^2 KL(p_T || q_T), averaged over the batch.

    p_T and q_T: softmax of the teacher's and of the student's logits divided by the temperature T; a: `weight`. T^2
    keeps the gradient of the second term as large as that of the first when T changes (section 2.1 of the paper). The
    teacher is the dense pretraining, in evaluation mode. The student is `small_dense` of the same ratio, from scratch.
    """

    title = "distillation"
    paper = "Hinton, Vinyals, Dean, Distilling the Knowledge in a Neural Network, NIPS 2014 workshop, arXiv:1503.02531"

    class Settings(NarrowSettings):
        temperature: float = setting(4.0, "of the softmax of teacher and student (T)", search=(1.0, 20.0), gt=0)
        weight: float = setting(0.7, "of the teacher's outputs (a); the labels have the rest", search=(0.1, 1.0), ge=0,
                                le=1)  # fmt: skip
        start_share: float = setting(0.3, "part of the epochs in which the teacher is trained", gt=0, lt=1)

    @classmethod
    def inactive_settings(cls, settings):
        return (*super().inactive_settings(settings), *(() if settings.weight else ("temperature",)))

    def load_dense(self, model, dense):
        self.teacher = dense.eval().requires_grad_(False)
        return model

    def loss(self, model, x, length, y):
        from torch import no_grad

        logits = model(x, length)
        with no_grad():
            teacher = self.teacher.to(x.device)(x, length)
        return (1 - self.settings.weight) * self.cross_entropy(logits, y) + self.settings.weight * distillation_loss(
            logits, teacher, self.settings.temperature
        )


def distillation_loss(logits, teacher, temperature):
    """T^2 KL(softmax(teacher / T) || softmax(logits / T)), averaged over the batch; both (B, classes)."""
    from torch.nn.functional import kl_div

    log_q, log_p = ((z.float() / temperature).log_softmax(-1) for z in (logits, teacher))
    return temperature**2 * kl_div(log_q, log_p, reduction="batchmean", log_target=True)
