"""What looks at regions of the feature maps: pooling, classes and boxes, masks."""
