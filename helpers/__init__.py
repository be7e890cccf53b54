"""One file per stage of a picture's journey. Read them in this order:

words        numbers and names in sentences         runtime      device, seeds, whole files
precision    float32 or bfloat16                    items        find and label pictures
splits       who trains, who judges                 presize      decode once, uint8 store
augment      draw, then apply, one interpolation    data         `ImageData`: all above, in batches
bodies       any network's stages, its weights      models       body + head, layer groups, freezing
features     activations of a frozen body, kept     schedules    progress -> rate
metrics      functions of the confusion counts      training     the loop, checkpoints
hooks        keep the best, stop early, average     lr_finder    the range test
predict      predictions as a record, TTA           saving       what a saved model says of itself
learner      `Learner`: the lectures' verbs         interpret    numbers about predictions
plots        every figure                           review       what was marked, undone, exported
browsers     the widgets                            export       a model others can run
recipe       all steps, end to end                  lessons      what only the notebooks need
"""

import os

# Threads that wait should sleep, not spin: with other programs on the same cores, spinning makes a training step
# several times as slow. OpenMP reads this when torch is loaded; `make` sets it, too.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
