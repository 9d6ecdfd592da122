"""The bundled cases in Slicer's Sample Data module."""

from __future__ import annotations


def registerSampleData() -> None:
    """Offer the bundled cases in the Sample Data module; they are on disk, nothing is downloaded.

    Called while Slicer starts: reads titles only, and imports nothing heavy.
    """
    import SampleData

    from SynthCTModule.EnginePath import ensureEngineOnPath

    ensureEngineOnPath()
    from SynthCTLib.cases import bundled_titles

    for path, title in bundled_titles().items():
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category="SynthCT",
            sampleName=title,
            uris=path.as_uri(),
            fileNames=f"{path.parent.name}.nii.gz",
            nodeNames=title,
            loadFileTypes="SegmentationFile",
            customDownloader=lambda _source, folder=path.parent: loadSampleCase(folder),
        )


def loadSampleCase(folder):
    """Put the case of a folder into the scene; returns its vtkMRMLSegmentationNode."""
    from SynthCTLib.cases import read_case
    from SynthCTModule.Cases import loadCase

    return loadCase(read_case(folder))
