"""What the engine says about segmentations and CTs, for translators: findings with their advice, notes, verdicts.

Literal sentences, so that Slicer's tools find them; :mod:`SynthCTModule.EngineText` says how they are used.
"""

from __future__ import annotations

from collections.abc import Callable


def findingTexts(_: Callable[[str], str]) -> list[str]:
    """Findings of the checks and what to do about them."""
    return [
        _("Only {confidence} of the body outline has a label near it, so the body envelope is largely a guess."),
        _(
            "Add structures near the skin (ribs, muscles, hips, skull), crop the map to the labeled part, or give the "
            "CT."
        ),
        _("The mask holds ids that mean nothing to the model: {ids}."),
        _("Remove them or map them to labels."),
        _("Left and right look swapped: {first} lies on the right of {second}."),
        _("Exchange their labels if they were mixed up."),
        _("Labels are in an impossible order: {examples}."),
        _("Correct them."),
        _("The mask has no labels."),
        _("Check that the segmentation was exported completely."),
        _("The mask has no body envelope (label 200), without which the image is unusable."),
        _("The mask holds nothing but the body envelope, so the organs are left to chance."),
        _("Add the body envelope; preparing the mask does it."),
        _("Label the organs that matter."),
        _("The slices are {width} mm wide; the model needs at least {least} mm."),
        _("The model cannot make {size} voxels {name}; it allows {allowed}."),
        _("The spacing {name} is {step} mm; the model was trained for {low} to {high} mm."),
        _("Choose a larger size or a coarser spacing."),
        _("{structures} cannot be in an image of the {regions}."),
        _("No label belongs to the {regions}, although the region is {region}."),
        _("The region is {region}; the labels suggest {suggested}."),
        _("Choose the region that fits ({region}), or remove what does not belong."),
        _("Choose the region that fits ({region}), or add the labels."),
        _("Leave the region out to take it from the labels."),
        _("Check the orientation stored in the file, or the label names, and flip the segmentation."),
        _("Head and feet look swapped: {examples}."),
        _("Check the orientation stored in the file and flip the segmentation."),
        _("The model has not been trained on {structures}."),
        _("The model has not been trained on the {regions}."),
        _("Expect little detail there, or take a model that knows them."),
        _("Take another model or another region."),
        _("{structures}: fewer than {least} voxels on the model's grid, too small to be seen in the CT."),
        _("{structures}: fewer than {least} voxels on the model's grid, hardly visible in the CT."),
        _("Enlarge the lesion or choose a finer spacing."),
        _("Prepare the mask for this model."),
        _("The field of view {name} is {whole} mm; the model has seen {low} to {high} mm."),
        _("Only {shown} mm are shown {name}; the model has seen {low} to {high} mm."),
        _("Cut the segmentation to the part that matters."),
        _("Cut the segmentation to {high} mm or less in this direction."),
        _("Choose a coarser spacing."),
        _("Give a segmentation that shows more of the body."),
        _("{total} voxels belong to more than one structure: {examples}{more}."),
        _("Each goes to the lesion, else to the smaller structure; correct the masks if that is not meant."),
        _("The axes of the segmentation are not at right angles (tilted gantry?); it was put onto a straight grid."),
        _("Positions are right; look at the edges of thin structures."),
        _("The chosen grid cuts off {lengths} of the labeled anatomy."),
        _("Choose a larger size or a coarser spacing, or leave both out."),
        _("Too small for the model's grid, or outside it, and therefore lost: {names}."),
        _("Choose a finer spacing or enlarge them."),
        _("The mask had no body envelope (label 200); it was estimated from the labels."),
        _("Give the CT or label the body yourself if its outline matters."),
        _("The mask had no body envelope (label 200); it was taken from the CT."),
        _("{file} names its labels itself; the names were used."),
        _("The numbers of {file} were read as {detected} ({reason})."),
        _("Name the label scheme if that is wrong."),
        _("Segments without voxels were left out: {segments}."),
        _("The segments {segments} were joined as {label}."),
        _("{file} does not say how it lies in the body: its axes are taken to point right, front and up."),
        _("If left and right or head and feet come out swapped, store the orientation in the file."),
        _("The ddpm solver needs all {trained} steps of its model; {steps} leave noise in the image."),
        _("Use --steps {trained}, or --solver ddim."),
        _("'{name}' is marked as {own} and was read as that, although it is named {named}."),
        _("Choose its label if the name is right."),
        _("'{name}' is marked as {own}, but its terminology was changed to '{words}', which SynthCT does not know."),
        _("'{name}' carries the label id '{tag}', which does not exist."),
        _("Choose its label again if that is wrong."),
        _("Choose which one it is."),
        _("The segment '{name}' has the terminology of {coded}, and was read as that."),
        _("Correct its terminology in Slicer if the name is right."),
        _("The segment '{name}' was read by its name, although its terminology says '{words}'."),
        _("Choose its label if the name is wrong."),
        _("'{name}' carries id {id}, which MAISI reserves and never uses."),
        _("Choose its label."),
        _("The {part} of {model} is missing."),
        _("Install SynthCT again."),
        _("{file} of {model} was put there by hand and never checked."),
        _("{file} of {model} is damaged (its SHA-256 has changed)."),
        _("Labels lie on the wrong side: {examples}."),
        _("'{name}' was {own} and now has the terminology of {coded}, as it is named; it is taken as that."),
        _("'{name}' was {own} and now has the terminology of {coded}."),
    ]


def resultTexts(_: Callable[[str], str]) -> list[str]:
    """Notes of anatomy edits, verdicts of the organ check, warnings of a run and faults of the program."""
    return [
        _("{name} has no counterpart on the left and was joined to the left upper lobe."),
        _("{name} has no counterpart on the other side; it keeps its name and lies on the other side."),
        _("{name}: only {voxels} voxel, too few to judge."),
        _("{name}: only {voxels} voxels, too few to judge."),
        _("{name}: median {median} HU; no range is known for it, so it was not judged."),
        _("{name}: median {median} HU, within {low} to {high} HU."),
        _("{name}: median {median} HU is too low (accepted: {low} to {high} HU)."),
        _("{name}: median {median} HU is too high (accepted: {low} to {high} HU)."),
        _("Some organs in '{folder}' are too dark or too bright; try another seed, or more retries."),
        _("Unexpected {kind}: {error}"),
        _("This is a fault of SynthCT. Details for a report are in {log}."),
        _("Details are printed above."),
    ]


def wordTexts(_: Callable[[str], str]) -> list[str]:
    """Words that stand in the places of a sentence."""
    return [
        _("left-right"),
        _("front-back"),
        _("head-foot"),
        _("head"),
        _("chest"),
        _("abdomen"),
        _("pelvis"),
        _("{number} more"),
    ]
