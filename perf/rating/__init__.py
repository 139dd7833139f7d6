"""People judge the face: films are made, shown in pairs in a browser, and the answers become figures.

    python -m perf.rating clips build/rating                     # films of the ready avatars, and their pairs
    python -m perf.rating serve build/rating                     # the form, on http://127.0.0.1:8090
    python -m perf.rating analyse build/rating/answers.jsonl     # analysis.md, .json and .png beside it

README.md in this folder is the protocol: who is asked, how many, what they are told, who is left out.
"""
