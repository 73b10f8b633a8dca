"""A trained net as a file that other programs run: ONNX, StableHLO, Keras, PyTorch, LiteRT.

zoo.export.export(model, variables, "vgg5.onnx")
"""

from zoo.export.files import ENDINGS, Exported, export

__all__ = ["ENDINGS", "Exported", "export"]
