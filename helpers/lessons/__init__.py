"""What only the lessons need, imported by name: `from helpers.lessons import Quiz, check_02_1, course_data`.

course        the course's data, and models handed from lesson to lesson
chosen        which set of pictures the course is about, and the class that is looked for
one_class     one class against the rest
checks        `check_NN_k`: whether exercise k of lesson NN is right, and if not, why not yet
quiz          `Quiz("NN")`
quiz_questions  the kinds of question, read from a quiz file
doctor        is this machine ready?
decisions     when to answer at all, and from which threshold to raise an alarm
temperature   what makes a model as sure as it may be
answers       grids of pictures with the model's answers
audit         which pictures look alike, which labels are probably wrong
together      several models together
closer_look   the training pictures most like one, in the browser of mistakes
duplicates    the same picture more than once
figures       what only lessons draw
labs          things to play with: rates, schedules, augmentation
embedding_map  a map of the pictures, alike ones together; a lasso opens them in a browser
overfitting   the best epoch kept, or a training ended where the validation loss got worse
messy         a folder of pictures as people send them
drawings      schematics for the words of a lecture
photo_drawings  schematics made of photographs: split, presizing, views
network       the learner's own network, drawn, and its layer groups as a table
backbone      a network's stages, groups and head with their sizes, before anybody trains it
schematic     what schematics are made of
filters       filters by hand
bug_hunt      lines that run and are wrong, one for each lesson
wrong_lines   the lines themselves
guess         a question answered with a number, which then stands beside the measured one
duel          twelve photographs, sorted by the learner and by a network
envelope      the sealed photographs, opened for the last word
heads         small heads on cached features, trained in a second
update_ratio  how long each step is beside the weights it changes
valley        a valley one can walk: two weights, a rate and a momentum
pairing       matching questions
clinic        eight sick training curves to be diagnosed
before_training  four checks before one trains
flatness      how far layers move, and how flat the loss is where a training ends
board         one row for each lesson's model, kept on disk
board_figure  the board drawn
scoreboard    what a model is worth to somebody who has an hour: five measures with intervals
measure_words  the measures of the board in words and units
threshold     a slider for the threshold and two prices: misses, looks and cost move
seeds         the same training over several seeds, and a paired comparison
interval_birth  a hundred draws, an interval from each, and those that miss the truth
feature_maps  one photograph on its way through the network; the first filters
channels      channels named by pictures
photo_map     a map of photographs as a figure: before and after, by label, kind, doubt, mistake
draw_crack    draw a crack and ask the model
scrub         what the model said after each epoch, as a film
zoom          a place of a photograph pointed at and enlarged
launching     a function in several processes, started from a notebook
rank_work     what those processes work on in lesson 10: rows, a head, a planned power cut
scaling       how long an epoch takes on several machines
scaling_lab   the same with sliders: machines, network, price
"""

import importlib

MODULE_OF = {
    "BATCH_SIZE": "lessons.course",
    "COURSE_AUGMENT": "lessons.course",
    "answering": "lessons.course",
    "course_data": "lessons.course",
    "asked_class": "lessons.chosen",
    "choose_set": "lessons.chosen",
    "set_folder": "lessons.chosen",
    "set_items": "lessons.chosen",
    "against_the_rest": "lessons.one_class",
    "earlier_head": "lessons.course",
    "hand_on": "lessons.course",
    "start_from": "lessons.course",
    "CHECKS": "lessons.doctor",
    "examine": "lessons.doctor",
    "AugmentBrowser": "lessons.labs",
    "ScheduleLab": "lessons.labs",
    "basic": "lessons.upright",
    "side_on": "data.augment",
    "identity": "lessons.figures",
    "Quiz": "lessons.quiz",
    "fit_temperature": "lessons.temperature",
    "find_duplicates": "lessons.duplicates",
    "nearest_neighbours": "lessons.audit",
    "neighbours_view": "lessons.closer_look",
    "heat_view": "lessons.closer_look",
    "find_leaks": "lessons.messy",
    "messy_folder": "lessons.messy",
    "messy_copy": "lessons.messy",
    "true_labels": "lessons.messy",
    "misfiled": "lessons.messy",
    "export": "export.bundle",
    "NORM_LAYERS": "models.groups",
    "AdamW": "runtime.torch_gaps",
    "AverageWeights": "recipe.averaging",
    "EarlyStopping": "lessons.overfitting",
    "KeepBest": "lessons.overfitting",
    "RatePicker": "lessons.labs",
    "plot_lines": "lessons.figures",
    "plot_schedule": "lessons.figures",
    "show_augmented": "lessons.figures",
    "show_each_operation": "lessons.figures",
    "show_heat_map": "lessons.figures",
    "heat_map": "lessons.heatmaps",
    "decision_cost": "lessons.decisions",
    "plot_cost": "lessons.figures",
    "BugHunt": "lessons.bug_hunt",
    "caught": "lessons.bug_hunt",
    "Guess": "lessons.guess",
    "Duel": "lessons.duel",
    "block_of": "lessons.envelope",
    "measures_by_block": "lessons.envelope",
    "open_envelope": "lessons.envelope",
    "FeatureSet": "lessons.heads",
    "hidden_head": "lessons.heads",
    "logistic_head": "lessons.heads",
    "quick_learner": "lessons.heads",
    "quietly": "lessons.heads",
    "train_head": "lessons.heads",
    "Valley": "lessons.valley",
    "ValleyLab": "lessons.valley",
    "plot_walks": "lessons.valley",
    "Clinic": "lessons.clinic",
    "FourChecks": "lessons.before_training",
    "four_checks": "lessons.before_training",
    "UpdateRatio": "lessons.update_ratio",
    "plot_update_ratio": "lessons.update_ratio",
    "measure_flatness": "lessons.flatness",
    "layer_moves": "lessons.flatness",
    "plot_flatness": "lessons.flatness",
    "put_back": "lessons.flatness",
    "snapshot": "lessons.flatness",
    "explain": "lessons.backbone",
    "available": "models.catalogue",
    "draw_activation": "lessons.drawings",
    "draw_cached_copies": "lessons.drawings",
    "draw_cached_features": "lessons.drawings",
    "draw_convolution": "lessons.drawings",
    "draw_one_cycle": "lessons.drawings",
    "draw_presizing": "lessons.photo_drawings",
    "draw_split": "lessons.photo_drawings",
    "draw_views": "lessons.photo_drawings",
    "draw_body_and_head": "lessons.network",
    "draw_network": "lessons.network",
    "print_groups": "lessons.network",
    "convolve": "lessons.filters",
    "show_filtered": "lessons.filters",
    "KERNELS": "lessons.filters",
    "Board": "lessons.board",
    "no_model": "lessons.board",
    "gains": "lessons.scoreboard",
    "measures": "lessons.scoreboard",
    "compare_seeds": "lessons.seeds",
    "many_seeds": "lessons.seeds",
    "ThresholdLab": "lessons.threshold",
    "draw_thresholds": "lessons.threshold",
    "how_an_interval_is_born": "lessons.interval_birth",
    "show_first_filters": "lessons.feature_maps",
    "show_journey": "lessons.feature_maps",
    "show_channels": "lessons.channels",
    "try_a_name": "lessons.channels",
    "watch_channels": "lessons.channels",
    "doubts_of": "lessons.photo_map",
    "draw_map": "lessons.photo_map",
    "kinds_of": "lessons.photo_map",
    "labels_of": "lessons.photo_map",
    "EmbeddingMap": "lessons.embedding_map",
    "embed_2d": "lessons.embedding_map",
    "CrackPainter": "lessons.draw_crack",
    "crack_table": "lessons.draw_crack",
    "show_crack_table": "lessons.draw_crack",
    "with_line": "lessons.draw_crack",
    "TrainingPlayer": "lessons.scrub",
    "WatchPhotographs": "lessons.scrub",
    "draw_four_frames": "lessons.scrub",
    "hard_items": "lessons.scrub",
    "HAIRLINES": "lessons.zoom",
    "zoomed": "lessons.zoom",
    "launch": "lessons.launching",
    "RankWork": "lessons.rank_work",
    "kept_head": "lessons.rank_work",
    "lay_out": "lessons.rank_work",
    "new_head": "lessons.rank_work",
    "plan_power_cut": "lessons.rank_work",
    "Cluster": "lessons.scaling",
    "draw_scaling": "lessons.scaling",
    "ScalingLab": "lessons.scaling_lab",
} | {
    f"check_{lesson}_{number}": f"lessons.checks.lesson_{lesson}"
    for lesson in (*(f"{number:02}" for number in range(11)), "01b")
    for number in (1, 2, 3)
}
__all__ = list(MODULE_OF)


def __getattr__(name: str):
    if name not in MODULE_OF:
        raise AttributeError(f"helpers.lessons has no {name!r}; choose from {', '.join(MODULE_OF)}")
    return getattr(importlib.import_module(f"helpers.{MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *MODULE_OF])
