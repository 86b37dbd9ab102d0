"""The vision tower: pixels, patches, features, and the features that are kept."""
