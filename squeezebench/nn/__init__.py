"""The modules that methods are composed from. `from squeezebench import nn`, then `nn.BottleneckMask`: torch is
imported when the first of them is used, so that planning and reporting start without it.

masks/       what decides which units stay          rnn/      cells, layers, heads, classifiers
factorized/  linear maps with few parameters        cnn/      feed-forward networks
pruning/     dependency graph, importance, cutting  sideways/ a learning rule for per-frame networks
kernels/     fused steps and matrix products
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "cnn.frames": ["FrameNetwork", "FrameRecurrent"],
        "cnn.named": ["named_features", "named_network", "named_weights", "reads_pixels"],
        "cnn.vgg": ["CONFIGURATIONS"],
        "factorized.joint": ["JointHidden", "JointInput"],
        "factorized.low_rank": ["LowRankMap"],
        "factorized.modes": ["check_rank"],
        "factorized.sparse": ["SparseMap"],
        "factorized.tensorise": ["MapChoice"],
        "masks.bottleneck": ["BottleneckMask", "split_mask_parameters"],
        "masks.noisy_weights": ["NoisyWeights"],
        "masks.hard_concrete": ["HardConcreteGate", "LogUniformMask"],
        "pruning.best_channels": ["best_channels", "parents_of"],
        "pruning.compact": ["compact_network", "select_channels"],
        "pruning.coupled_units": ["mask_units", "units_kl"],
        "pruning.groups": [
            "above",
            "chosen",
            "input_square_norms",
            "largest",
            "shrink_unit_groups",
            "unit_group_lasso",
            "unit_square_norms",
        ],
        "pruning.information": ["activation_noise", "itpcc_kl"],
        "pruning.masked_network": ["MaskedNetwork"],
        "pruning.observed_network": ["ObservedNetwork"],
        "pruning.shrink": [
            "compact_masked",
            "keep_largest",
            "keep_smaller",
            "select_units",
            "surviving_inputs",
            "surviving_units",
        ],
        "pruning.size_tracker": ["narrowed", "track_sizes"],
        "pruning.unit_groups": ["UnitGroups", "unit_groups"],
        "registry": ["module_from_spec"],
        "rnn.cells": ["cell_of"],
        "rnn.classifier": ["RecurrentClassifier", "recurrent_classifier"],
        "rnn.heads.segments": ["TemporalSegments"],
        "rnn.layer": ["RecurrentLayer"],
        "rnn.pooled": ["MeanPoolLinear"],
        "rnn.residual": ["ResidualClassifier"],
        "sideways.training": ["backpropagation_step", "forget_by_clip", "sideways_step"],
        "sideways.vgg": ["VideoVGG", "video_vgg", "video_vgg_weights"],
    },
)
