"""Pictures for the labs: one module per picture, and the four modules that every picture stands on.

Which one to use (nothing here needs a front end: it also runs under nbclient and papermill):

    still.show(figure, sentence)                a picture without controls
    picture.picture(name, draw, **controls)     controls, a matplotlib PNG, a sentence: the default
    flipbook.flipbook(name, make, **controls)   steps through frames that light up cells, drawn live in
                                                the browser; the frames come from Python, no JavaScript
    hand_drawn.HandDrawn                        base class of an anywidget with JavaScript of its own

Each leaves a PNG and a sentence with the numbers in the saved notebook, works offline, and takes its colours
from `palette` (one colour per quantity in the whole course) and its controls from `controls`.
"""
