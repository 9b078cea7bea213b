"""The network in formats for other programs: TorchScript, ONNX, torch.export, TensorRT."""

from metakd_monai.weights.exports.read_export import check_shareable, load_any, settle_precision, weights_checksum

# writing needs more imports: metakd_monai.weights.exports.write_export
__all__ = ["check_shareable", "load_any", "settle_precision", "weights_checksum"]
