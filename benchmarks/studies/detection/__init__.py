"""A pruned backbone in a detector: SSD on the project's ResNets, trained on PASCAL VOC, dense against compact.

ssd          the detectors: added layers, default boxes, heads; torchvision's SSD has the loss and the matching
boxes        suppression of overlapping boxes
mean_ap      the two metrics of PASCAL VOC
differences  of two backbones, with an interval
voc          images and boxes of VOC2007 in COCO's format
study        `python -m benchmarks.studies.detection.study CONFIG ...`
"""
