"""What keeps the engine from going on, for translators: the sentences of its errors.

Literal sentences, so that Slicer's tools find them; :mod:`SynthCTModule.EngineText` says how they are used.
"""

from __future__ import annotations

from collections.abc import Callable


def segmentTexts(_: Callable[[str], str]) -> list[str]:
    """Reading, labels and preparing of a segmentation."""
    return [
        _("The label map holds no organ to build the body from; check that it is not empty."),
        _("The CT and the segmentation have different grids; resample one to the other first."),
        _("The body envelope needs a 3D volume with axes toward right, anterior, superior (RAS)."),
        _("The body envelope needs labels as unsigned bytes (MAISI ids 0-255)."),
        _("'{text}' is not a label that SynthCT knows; {advice}"),
        _("There is no organ group '{group}'; use one of {names}."),
        _("Label {id} has no category or type code; complete its row."),
        _("'{text}' stands for several labels; choose among: {candidates}."),
        _("Label id {id} does not exist; use 1-{last} or {body} (body)."),
        _("The labels do not tell which part of the body this is; choose the region ({regions}, or a range)."),
        _(
            "Nothing of the segmentation is left on the model's grid: its structures are smaller than a voxel "
            "({spacing} mm); choose a finer spacing or larger structures."
        ),
        _("The segmentation is empty: no voxel has a label; check that it was exported completely."),
        _("The model needs square slices, not {x} × {y}; make the first two sizes equal."),
        _("The spacing {spacing} mm is impossible; give three positive numbers."),
        _("The model needs square voxels in the slice, not {x} × {y} mm; make them equal."),
        _("The size {size} ({direction}) is not allowed by the model; choose among {allowed}."),
        _("'{text}' is not a body region; use {regions}, or a range of them such as chest-abdomen."),
        _(
            "A body region from {top} to {bottom} does not exist; use 0 (head) to {regions} (pelvis), the top region "
            "first."
        ),
        _("The label scheme '{scheme}' does not exist; choose maisi or totalsegmentator, or give a JSON map."),
        _(
            "The ids of {file} could be {first} or {second}; say which with the label scheme 'maisi' or "
            "'totalsegmentator'."
        ),
        _(
            "{file} holds {ids}, {what}; remove them, or give a JSON map that says what each number means, such as "
            '{{"5": "liver"}}.'
        ),
        _('The label map must be a JSON object such as {{"5": "liver", "7": 62}}; correct it.'),
        _("The label map gives {value} for '{key}'; give a label name or a MAISI id."),
        _("The label map gives id {id} for '{key}', which MAISI reserves and never uses; choose another."),
        _("The label map {path} cannot be read ({reason}); check its path."),
        _("The label map {file} is no valid JSON ({reason}); correct it."),
        _(
            "{file} is none of the formats that can be read; give NIfTI (.nii, .nii.gz), NRRD (.nrrd, .seg.nrrd) or a "
            "folder of masks."
        ),
        _("The label scheme '{scheme}' does not exist; choose one of {schemes}."),
        _("The label scheme 'map' needs a JSON file that says what each number means; give its path."),
        _("{file} is empty: no voxel has a label; check that the segmentation was exported completely."),
        _(
            "{source} holds unknown structures{more}: {problems}. Rename them, or give a JSON map that names a label "
            "(or null to leave it out) for each."
        ),
        _("{file} holds numbers without names; choose the label scheme maisi or totalsegmentator."),
        _("{file} names its structures, so the label scheme '{scheme}' does not apply; leave it out."),
        _("{path} does not exist; check the path."),
        _("The folder {folder} holds no masks (.nii, .nii.gz or .nrrd); give one file per structure."),
        _("The label map leaves out every mask in {folder}; name at least one structure."),
        _("{file} is a Slicer segmentation, not a mask; give that file alone instead of its folder."),
        _(
            "{file} holds several labels ({values}) where one mask per file is expected; give the label map itself "
            "instead of its folder."
        ),
        _("{file} lies on another grid than the other masks in {folder}; resample it to theirs."),
        _("{file} cannot be read: it is cut off, damaged or not a NIfTI file; export it again."),
        _("{file} holds values that are not numbers (NaN or infinite); replace them by -1000 (air)."),
        _("{file} names layers that it does not hold (segment {missing}); save it again in Slicer."),
        _("{file} holds values that are not numbers; give a CT in Hounsfield units."),
        _("{file} has {directions} space directions and needs 3; export a 3D label map."),
        _("The list of segments in {file} is damaged; save the segmentation again in Slicer."),
        _("{file} cannot be read: it is cut off, damaged or not an NRRD file; export it again."),
        _(
            "{file} holds unknown segments{more}: {problems}. Rename them in Slicer, or give a JSON map that names a "
            "label (or null to leave it out) for each."
        ),
        _("{file} has {count} dimensions ({sizes}); {advice}."),
        _("{file} has no voxels ({sizes}); export the label map again."),
        _("{file} has more than 1024³ voxels ({sizes}); crop or resample it first."),
        _("The orientation stored in {file} is unusable (its axes do not span space); export it again."),
        _("{file} holds {values}, not label numbers; export a label map."),
        _("{file} holds negative values (down to {low}), so it looks like a CT image; give a label map."),
        _("{file} holds the label number {high}; label numbers lie between 0 and 65535."),
        _("{file} holds values that are not numbers (NaN or infinite); replace them by 0 (background)."),
        _(
            "{file} holds values that are not whole numbers (such as {odd}): this is an image or a probability map; "
            "give a label map, resampled with nearest neighbor if at all."
        ),
    ]


def teachingTexts(_: Callable[[str], str]) -> list[str]:
    """Cases, quiz and anatomy edits."""
    return [
        _("There is no bundled case '{case_id}'; choose one of: {known}."),
        _("The case in '{folder}' cannot be used: {problem} See docs/cases.md for the format."),
        _("'{path}' cannot be read ({reason}); choose the folder of a case."),
        _("'{path}' is not valid JSON; correct it or get the case again."),
        _("The case '{id}' is incomplete: '{file}' is missing; get the case again."),
        _("'{path}' is no case file: '{missing}' is missing in it."),
        _("The case '{id}' cannot be used: {problems} Correct it and try again."),
        _("The case '{id}' has a file '{file}' that its {document} does not name."),
        _("There is already a case '{target}' in '{folder}'; rename or remove one of them."),
        _("'{path}' cannot be written ({reason}); choose another place or free space."),
        _("'{path}' is no complete case file ({reason}); get it again."),
        _("'{path}' cannot be opened ({reason}); check its path."),
        _("'{path}' holds '{filename}', which does not belong in a case; it was not opened."),
        _("'{filename}' in '{path}' is too large for a case; it was not opened."),
        _("'{path}' has a damaged '{document}'; get the case again."),
        _("'{name}' is larger than {size} MB, too large for a case."),
        _("'{target}' cannot be written ({reason}); choose another place or free space."),
        _("The label map '{path}' is cut off; get the file again."),
        _("The label map '{path}' does not say where it lies; save it again with its geometry."),
        _("A label map has three axes and unsigned bytes, not {ndim} axes of {dtype}."),
        _("A label map of {size} voxels cannot be saved; use 1 to {max_voxels} voxels."),
        _("'{path}' is not a gzipped NIfTI-1 file; save the label map as .nii.gz."),
        _("'{path}' is no label map of unsigned bytes with three axes and an sform; save it again."),
        _("'{path}' has header extensions or scaled values; save the label map again."),
        _("'{path}' has {x} × {y} × {z} voxels, too many for a case; use a coarser grid."),
        _("The label map '{path}' cannot be read ({reason}); get the file again."),
        _("There is nothing to ask: the case has no questions and its label map no structures."),
        _("The quiz is over; start it again for another try."),
        _("The question is of the kind '{kind}', not '{wanted}'."),
        _("{label} is not in the label map, so that it cannot be asked for."),
        _("'{path}' cannot be written ({reason}); close programs that use it and retry."),
        _("{name} is not in the label map, so that it cannot be measured."),
        _("No place in {organs} has room for {diameter_mm} mm; choose less than {largest} mm."),
        _("{label} is no lesion; choose one of: {names}."),
        _("{organs}: not in the label map; draw it first or choose another lesion or organ."),
        _(
            "There is not enough room for {diameter_mm} mm at this point of {organ}; choose a smaller size or a point "
            "farther from the edge."
        ),
        _("{lesion}: {diameter_mm} mm is too small for voxels of {spacing} mm; choose at least {least} mm."),
        _("The chosen point is not in {organs}; choose a point inside the organ."),
        _("{name}: cannot be grown or shrunk; choose a structure that is in the label map."),
        _("{name} would vanish when shrunk by {mm} mm; choose less."),
        _(
            "{name} stays as it is with {mm} mm: that is less than a voxel, or other structures are all around it; "
            "choose more, or allow it to grow into a neighbor."
        ),
    ]


def modelTexts(_: Callable[[str], str]) -> list[str]:
    """Models, their files and downloads."""
    return [
        _("There is no model '{text}'; did you mean {near}? (synthct models list shows all)"),
        _("The model card {path} is not valid at {where}: {message}; correct this entry."),
        _("The model card {path} has no '{part}' in its {lacks}; name it in both or in none."),
        _("The model card {path} has a refiner, which needs an even latent downsampling; correct it."),
        _("There is no model card at {text}; give a card.json, its folder, or the id of a model."),
        _("The model card {path} cannot be read ({reason}); check the path."),
        _("The model card {path} is no valid JSON ({reason}); correct or restore it."),
        _("A model card of SynthCT is damaged ({reason}); install SynthCT again."),
        _("{model} is part of SynthCT and needs no import; choose another card."),
        _("{model} is part of SynthCT and cannot be removed; only imported models can."),
        _("The model {model} is {status} in {folder}. {advice}."),
        _("{file} of {model} cannot be read ({reason}). {advice}."),
        _("{file} of {model} carries no scale factor. {advice}."),
        _("There is no file {path}; check the path of the checkpoint."),
        _("{file} is no checkpoint that SynthCT knows ({found}); use the file as it was released."),
        _("{file} holds a {name} and no checkpoint; use the file as released."),
        _("The scale_factor in {file} is no positive number; use the file as it was released."),
        _(
            "{what} does not fit: of {count} weights, {problems}; check that the file belongs to this model and "
            "version."
        ),
        _("{file} is no readable safetensors file ({reason}); get it again."),
        _(
            "{file} was refused: it is no PyTorch checkpoint that can be read safely; get the file again from its "
            "publisher."
        ),
        _("{file} is no readable PyTorch checkpoint; perhaps cut short: get it again."),
        _(
            "{file} was refused: it contains the Python object '{object}', which could run code when loaded; get the "
            "file again from its publisher."
        ),
        _(
            "{reserve} GB are needed in {folder} and {free} GB are free; free some space or set SYNTHCT_MODELS to a "
            "folder on another disk."
        ),
        _("The weight {broken} for {file} holds values that are no finite numbers; {advice}."),
        _("The models folder {folder} cannot be created ({reason}); set SYNTHCT_MODELS to one you can write."),
        _("{path} cannot be written ({reason}); check the folder and its permissions."),
        _("No file was given; name the checkpoint files of {model}."),
        _(
            "{file} is none of the networks of {model} ({shapes}); its first weight is '{absent}'; check that it is "
            "the right file."
        ),
        _("{file} is not the {part} published for {model} (other SHA-256); get the file again."),
        _(
            "{file} differs from the {part} of {model} that was imported first (other SHA-256); if the new file is the"
            " right one, run 'synthct models remove {id}' and import all files again."
        ),
        _("{file} and {other} are both the {part} of {model}; give one."),
        _(
            "{file} holds no scale_factor, which {model} needs from its diffusion checkpoint; use the file as it was "
            "released."
        ),
        _("{url} is no web address; downloads begin with https://."),
        _(
            "{target} arrived with another SHA-256 than published, so it was discarded; try again, and if that repeats"
            " the file was changed at its source or on the way."
        ),
        _("{model} is part of SynthCT and needs no download; it can be used as it is."),
        _(
            "{model} is published under the {licence} ({url}); read it and run the command again with --accept-licence"
            " if you agree."
        ),
        _("The {part} of {model} has no download address. {advice}."),
        _("The download of {target} broke off ({reason}); run the command again to continue it."),
        _(
            "{host} cannot be reached ({reason}); check the network or proxy, or get {target} on another computer and"
            " use 'synthct models import'."
        ),
        _("The server refused to send {file} (HTTP {code}); try again later."),
        _(
            "The server does not give {file} without an account ({code}); accept its terms at {url}, save the file "
            "with a browser and use 'synthct models import'."
        ),
        _(
            "{file} is not at {url} any more ({code}); look for it on the publisher's page and use 'synthct models "
            "import'."
        ),
        _("The disk is full at {folder}; free some space and run the command again."),
        _("{model} is not as it should be ({findings} findings above)."),
    ]


def computerTexts(_: Callable[[str], str]) -> list[str]:
    """Devices, memory, disk and results."""
    return [
        _("There is no device called '{text}'; choose one of {devices} or cuda:0, cuda:1 …."),
        _("No CUDA device can be used here; install PyTorch for CUDA, or use --device cpu."),
        _("There is no {text}, CUDA devices here: {device_count}; choose a lower one."),
        _("No Apple GPU (MPS) can be used here; choose --device cpu."),
        _(
            "Memory does not suffice to decode the image even in small tiles; use a smaller --size, close other "
            "programs or choose --device cpu."
        ),
        _("The output folder '{out}' is a file; choose another name."),
        _(
            "The folder '{out}' holds files that are no result of SynthCT; choose a new or empty folder, so that "
            "nothing of yours is overwritten."
        ),
        _("The output folder '{out}' contains the input '{file}'; choose another folder."),
        _("Nothing can be written beside '{out}' ({reason}); choose another output folder."),
        _("The result could not be put into '{out}' ({reason}); close programs that use it and retry."),
        _("'{path}' cannot be written ({reason}); choose another output folder."),
        _("The disk is full at '{folder}'; free some space and run again."),
        _("The disk is full; free some space and run again."),
        _("SynthCT's Resources folder is missing beside {package}; install SynthCT again from a complete copy."),
    ]
