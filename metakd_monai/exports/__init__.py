"""The network in formats that other programs run: TorchScript, ONNX, torch.export, TensorRT."""

from metakd_monai.exports.read import check_shareable, load_any, settle_precision, weights_checksum

# Writing needs more imports: metakd_monai.exports.write.
__all__ = ["check_shareable", "load_any", "settle_precision", "weights_checksum"]
