"""What images that see pixels share: data set, transforms, bundle, predictor, drift."""
