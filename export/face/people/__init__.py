"""Synthetic people: faces that belong to nobody, path-traced, to train and to judge the learned renderer with.

`python -m export.face.people` renders them; who they are is arithmetic on ICT-FaceKit's shapes (head, person), how they
look is procedural (skin, eyes, teeth, brows, lashes, hair, clothes, room, light), and Blender's Cycles draws them
(`pip install '.[people]'`, then `pip install --no-deps bpy==4.5.11`, whose wheel is for Python 3.11 only). Nothing here
is needed to run or to build avatars.
"""
