"""`make bench`: this kit against fastai, plain PyTorch, timm and Lightning on equal work. Read the files in this order:

work        what every contender is given, and the counts that prove it did just that
rows        the table's rows: which task, which contenders, which target
contenders  one file each; a task sets up what is not timed and returns what is
worker      a process of its own per contender, which the bench tells what to run
rounds      contenders in turn, rotating; medians, ratios per round, noise of the same against the same
gpu         what a CUDA device is asked first: whether anything waits, and what lies on it
memory      peak of a whole process tree
tuning      workers and precision of the tuned peers, found by measuring
bench       every row in turn; each finished row is on disk at once
check       ratios now against ratios stored
table       markdown and JSON
floors      how near the arithmetic comes to what this machine can do, and where the rest goes
growth      time and memory against the number and the size of pictures
"""
