"""The gateway: in front of TensorFlow Serving, it passes requests on and does what stands around them."""
