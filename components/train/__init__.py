"""Fine-tune or train a timm backbone on a labelled image dataset."""
