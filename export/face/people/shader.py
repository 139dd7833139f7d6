"""A Cycles material as a small graph: every function returns the output socket that the next one takes.

Needs bpy. Colours are linear RGB; lengths are metres, as in the scene.
"""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np


class Shader:
    """A material that ends in Blender's Principled BSDF unless `surface` says otherwise."""

    def __init__(self, name: str) -> None:
        self.material = bpy.data.materials.new(name)
        self.material.use_nodes = True
        self._tree = self.material.node_tree
        self._principled = self._tree.nodes["Principled BSDF"]
        self._output = self._tree.nodes["Material Output"]

    def _put(self, socket: Any, value: Any) -> None:
        if isinstance(value, bpy.types.NodeSocket):
            self._tree.links.new(value, socket)
        elif value is None:
            return
        elif socket.type == "RGBA":
            colour = np.broadcast_to(np.asarray(value, dtype=float), (3,))
            socket.default_value = (*(float(c) for c in colour), 1.0)
        elif socket.type == "VECTOR":
            socket.default_value = tuple(float(c) for c in np.broadcast_to(np.asarray(value, dtype=float), (3,)))
        else:
            socket.default_value = float(value)

    def node(
        self, kind: str, inputs: dict[str | int, Any], output: str | int = 0, settings: dict[str, Any] | None = None
    ) -> Any:
        """Add the node `ShaderNode<kind>`; inputs are numbers, colours or sockets, by name or index."""
        node = self._tree.nodes.new(f"ShaderNode{kind}")
        for name, value in (settings or {}).items():
            setattr(node, name, value)
        for key, value in inputs.items():
            self._put(node.inputs[key], value)
        return node.outputs[output]

    def attribute(self, name: str, output: str = "Fac") -> Any:
        """A mesh attribute as number ("Fac"), "Color" or "Vector"."""
        return self.node("Attribute", {}, output, {"attribute_name": name})

    def math(self, operation: str, *values: Any) -> Any:
        """ADD, MULTIPLY, MULTIPLY_ADD, POWER, ... of up to three numbers or sockets."""
        return self.node("Math", dict(enumerate(values)), 0, {"operation": operation})

    def mix(self, factor: Any, a: Any, b: Any, blend: str = "MIX") -> Any:
        """Colour a where factor is 0, b (or a blended with b) where it is 1."""
        return self.node("Mix", {0: factor, 6: a, 7: b}, 2, {"data_type": "RGBA", "blend_type": blend})

    def ramp(self, factor: Any, *stops: tuple[float, Any]) -> Any:
        """Piecewise linear colour over a number; a stop's value is grey or RGB."""
        node = self._tree.nodes.new("ShaderNodeValToRGB")
        self._put(node.inputs[0], factor)
        elements = node.color_ramp.elements
        while len(elements) < len(stops):
            elements.new(0.5)
        for element, (position, value) in zip(elements, sorted(stops, key=lambda stop: stop[0]), strict=True):
            element.position = position
            element.color = (*(float(c) for c in np.broadcast_to(np.asarray(value, dtype=float), (3,))), 1.0)
        return node.outputs[0]

    def noise(self, vector: Any, scale: float, detail: float = 2.0, roughness: float = 0.5) -> Any:
        """Perlin noise, about 0.5 +- 0.15."""
        return self.node("TexNoise", {"Vector": vector, "Scale": scale, "Detail": detail, "Roughness": roughness})

    def scaled(self, vector: Any, scale: tuple[float, float, float]) -> Any:
        """A vector with its axes scaled."""
        return self.node("Mapping", {"Vector": vector, "Scale": scale})

    def relief(self, height: Any, strength: Any, distance: float, normal: Any = None) -> Any:
        """Normals of a relief: `distance` metres for a height of 1."""
        return self.node("Bump", {"Height": height, "Strength": strength, "Distance": distance, "Normal": normal})

    def principled(self, **inputs: Any) -> Any:
        """Set the Principled BSDF's inputs (underscores for spaces) and return the material."""
        for name, value in inputs.items():
            self._put(self._principled.inputs[name.replace("_", " ")], value)
        return self.material

    def surface(self, closure: Any) -> Any:
        """End in another closure than the Principled BSDF, and return the material."""
        self._tree.nodes.remove(self._principled)
        self._put(self._output.inputs["Surface"], closure)
        return self.material


def plain(name: str, colour: Any, roughness: float = 0.5, **inputs: Any) -> Any:
    """A material of one colour."""
    return Shader(name).principled(Base_Color=colour, Roughness=roughness, **inputs)


def hair(name: str, melanin: float, redness: float, roughness: float = 0.34) -> Any:
    """Chiang's hair shader by melanin, for curves."""
    shader = Shader(name)
    return shader.surface(
        shader.node(
            "BsdfHairPrincipled",
            {
                "Melanin": melanin,
                "Melanin Redness": redness,
                "Roughness": roughness,
                "Radial Roughness": 0.5,
                "Random Color": 0.12,
                "Random Roughness": 0.2,
            },
            0,
            {"parametrization": "MELANIN"},
        )
    )
