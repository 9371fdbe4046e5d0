"""The rules by which JAX's primitives become nodes of ONNX, one module a family."""
