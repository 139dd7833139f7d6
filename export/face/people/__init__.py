"""Synthetic people: faces that belong to nobody, path-traced, to train and to judge the learned renderer with.

`python -m export.face.people` renders them; who they are is arithmetic on ICT-FaceKit's shapes (head, person), how they
look is procedural (skin, eyes, teeth, brows, lashes, hair, clothes, room, light), and Blender's Cycles (the wheel bpy,
extra `people`, Python 3.11 only) draws them. Nothing here is needed to run or to build avatars.
"""
