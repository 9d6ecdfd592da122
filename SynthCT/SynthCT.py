"""SynthCT in 3D Slicer: module, sample data, parameter node, widget, logic, test. The pieces are in SynthCTModule/."""

from typing import Annotated

import slicer
import vtk
from slicer import vtkMRMLLabelMapVolumeNode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

from SynthCTModule.Choices import DeviceChoice, LabelScheme, PresetChoice, RegionChoice
from SynthCTModule.SampleCases import registerSampleData

#
# SynthCT
#


class SynthCT(ScriptedLoadableModule):
    """Describes the module to Slicer."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = "SynthCT"
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Image Synthesis")]
        self.parent.dependencies = ["Segmentations", "Markups"]
        self.parent.contributors = ["SynthCT contributors"]
        self.parent.helpText = _("""
Makes a synthetic CT from a segmentation: press <i>Sample case</i>, then <i>Generate CT</i>. Every result is synthetic,
not a patient, not for clinical use.
""")
        self.parent.acknowledgementText = _("""
Uses the networks of MAISI (Guo et al., WACV 2025, arXiv 2409.11169; MAISI-v2, arXiv 2508.05772) in MONAI. The bundled
cases name their sources and licences.
""")
        slicer.app.connect("startupCompleted()", registerSampleData)


#
# SynthCTParameterNode
#


@parameterNodeWrapper
class SynthCTParameterNode:
    """Everything that the panel remembers in the scene; sizes in voxels, spacings in mm.

    No steps, a size or a spacing of 0, and a guidance or temperature below 0, mean: as the model says.
    """

    inputNode: vtkMRMLSegmentationNode | vtkMRMLLabelMapVolumeNode | None
    labelScheme: LabelScheme = LabelScheme.DETECT
    region: RegionChoice = RegionChoice.AUTOMATIC
    customGrid: bool = False
    sizeX: int = 0
    sizeY: int = 0
    sizeZ: int = 0
    spacingInPlane: Annotated[float, WithinRange(0, 10)] = 0.0
    spacingSlice: Annotated[float, WithinRange(0, 10)] = 0.0
    showGridBox: bool = False
    modelId: str = "synthct-embedded-v2"
    seed: Annotated[int, WithinRange(0, 2**31 - 1)] = 1
    preset: PresetChoice = PresetChoice.STANDARD
    steps: Annotated[int, WithinRange(0, 200)] = 0
    guidance: Annotated[float, WithinRange(-0.5, 20)] = -0.5
    temperature: Annotated[float, WithinRange(-0.05, 2)] = -0.05
    count: Annotated[int, WithinRange(1, 50)] = 1
    retries: Annotated[int, WithinRange(0, 20)] = 0
    device: DeviceChoice = DeviceChoice.AUTOMATIC
    onInputGrid: bool = False
    resultVolume: vtkMRMLScalarVolumeNode
    compareVolume: vtkMRMLScalarVolumeNode
    studentMode: bool = False


#
# SynthCTWidget
#


class SynthCTWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Loads the .ui and gives each section its panel (SynthCTModule/panels)."""

    def __init__(self, parent=None) -> None:
        # First, since without a parent the base class calls setup().
        self.logic = None
        self.makeLogic = SynthCTLogic
        self.panels = []
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        VTKObservationMixin.__init__(self)
        ScriptedLoadableModuleWidget.__init__(self, parent)

    def setup(self) -> None:
        """Called when the user opens the module the first time."""
        from SynthCTModule.panels.all import makePanels

        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/SynthCT.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = self.makeLogic()
        self.panels = makePanels(self.ui, self.logic.workbench, lambda: self._parameterNode)
        self.logic.workbench.input.changed.connect(self._update)
        self.logic.workbench.readinessChanged.connect(self._update)
        self.logic.workbench.runStateChanged.connect(self._update)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(scene, scene.StartImportEvent, self.onSceneStartImport)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEndImport)
        self.initializeParameterNode()

    def cleanup(self) -> None:
        """Called when Slicer closes or the module is reloaded: no process and no file is left behind."""
        try:
            if self.logic is not None:  # else setup() has failed
                self.setParameterNode(None)
        finally:
            if self.logic is not None:
                self.logic.shutdown()
            self.removeObservers()

    def enter(self) -> None:
        """Called each time the user opens this module."""
        self.initializeParameterNode()
        for panel in self.panels:
            panel.enter()

    def exit(self) -> None:
        """Called each time the user opens a different module; a run goes on, and the widgets follow on return."""
        for panel in self.panels:
            panel.exit()
        self._disconnectGui()

    def onSceneStartClose(self, caller, event) -> None:
        """Called just before the scene is closed: what runs belongs to it."""
        self.logic.close()
        self.setParameterNode(None)

    def onSceneEndClose(self, caller, event) -> None:
        """Called just after the scene is closed."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def onSceneStartImport(self, caller, event) -> None:
        """Called before a scene is opened or added, when all node selectors lose what was chosen in them."""
        self._disconnectGui()

    def onSceneEndImport(self, caller, event) -> None:
        """Called after a scene is opened: show the settings that are stored in it."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self) -> None:
        """Ensure that the parameter node exists and is observed; take the scene's only anatomy if none is chosen."""
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, inputParameterNode: SynthCTParameterNode | None) -> None:
        """Bind the widgets to a parameter node, or to none between two scenes."""
        self._disconnectGui()
        self._parameterNode = inputParameterNode
        if self._parameterNode:
            self._parameterNodeGuiTag = self._parameterNode.connectGui(self.ui)
            self.addObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._update)
            self._update()
            return
        self.logic.workbench.input.observe(None)
        for panel in self.panels:
            panel.exit()

    def _disconnectGui(self) -> None:
        if self._parameterNodeGuiTag is not None:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self._parameterNodeGuiTag = None
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._update)

    def _update(self, *_arguments) -> None:
        if self._parameterNodeGuiTag is not None:
            self.logic.workbench.input.observe(self._parameterNode.inputNode)
            for panel in self.panels:
                panel.update()


#
# SynthCTLogic
#


class SynthCTLogic(ScriptedLoadableModuleLogic):
    """Makes CTs from scripts and for the widget."""

    def __init__(self, makeProcess=None) -> None:
        """makeProcess: makes a process for the engine (SynthCTModule.WorkerProcess); Slicer's own when None."""
        import qt

        from SynthCTModule.Installer import SlicerInstaller
        from SynthCTModule.Workbench import Workbench
        from SynthCTModule.WorkerProcess import SlicerWorkerProcess

        ScriptedLoadableModuleLogic.__init__(self)
        self.workbench = Workbench(makeProcess or SlicerWorkerProcess, qt.QSettings(), SlicerInstaller())

    def getParameterNode(self):
        return SynthCTParameterNode(super().getParameterNode())

    def process(
        self, segmentationNode=None, outputVolumeNode=None, *, labelScheme=None, waitForCompletion=False, **settings
    ):
        """Make a CT from a segmentation or label map node, outside of Slicer's own process.

        Example::

            from SynthCT import SynthCTLogic
            from SynthCTModule.Cases import loadCase, sampleCase

            segmentation = loadCase(sampleCase())
            results = SynthCTLogic().process(segmentation, seed=7, preset="draft", waitForCompletion=True)
            print(results[0].ct.GetName(), results[0].mask.GetName())

        :param segmentationNode: vtkMRMLSegmentationNode or vtkMRMLLabelMapVolumeNode; it stays as it is. None for a
            model that takes no segmentation, such as one of the Medical Diffusion family.
        :param outputVolumeNode: vtkMRMLScalarVolumeNode that gets the (first) CT; None: a new node.
        :param labelScheme: what the numbers of a label map mean: maisi, totalsegmentator; None: detected.
        :param waitForCompletion: return when the CT is there, while Slicer's windows stay alive; otherwise at once.
        :param settings: region, size, spacing, model, preset, steps, solver, guidance, temperature, seed, count,
            retries, device, grid, as in SynthCTModule.Parameters.RunParameters.
        :return: list of ResultNodes (``ct``, ``mask`` or None) with waitForCompletion, otherwise the running Run.
        :raises RuntimeError: the run could not start, has failed or was cancelled (with waitForCompletion).
        """
        from SynthCTModule.Parameters import RunParameters

        run = self.workbench.run
        parameters = RunParameters(**{"modelsFolder": self.workbench.modelsFolder(), **settings})
        started = self.workbench.generate(segmentationNode, parameters, labelScheme, outputVolumeNode)
        if not started:
            raise RuntimeError(run.outcome.text())
        if not waitForCompletion:
            return run
        run.wait()
        if run.outcome is None or run.outcome.imported is None:
            raise RuntimeError(run.outcome.text() if run.outcome else _("The run was ended."))
        return run.outcome.imported

    def close(self) -> None:
        """End what belongs to the scene: a run, and what is prepared for one; no process and no file is left behind."""
        self.workbench.close()

    def shutdown(self) -> None:
        """End everything for good, installing and downloads too; no signal comes after it."""
        self.workbench.shutdown()


#
# SynthCTTest
#


class SynthCTTest(ScriptedLoadableModuleTest):
    """From the sample case to a CT; without PyTorch a stand-in paints it (SynthCTModule.SelfTest)."""

    def setUp(self):
        """Start with an empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self):
        """Called by Slicer."""
        for test in (self.test_SampleCaseBecomesCt, self.test_OutputVolume, self.test_Cancel, self.test_Kill):
            self.setUp()
            test()

    def test_SampleCaseBecomesCt(self):
        """Nodes, geometry, labels and settings of a result; the input stays as it is."""
        from SynthCTModule.Cases import loadCase, sampleCase
        from SynthCTModule.ResultNodes import storedSettings
        from SynthCTModule.SelfTest import labelVoxels, sameGrid, selfTestProcess

        self.delayDisplay(_("Making a CT from the sample case"))
        segmentation = loadCase(sampleCase())
        before = labelVoxels(segmentation)
        logic = SynthCTLogic(selfTestProcess())
        results = logic.process(segmentation, seed=7, preset="draft", waitForCompletion=True)
        self.assertEqual(len(results), 1)
        ct, mask = results[0].ct, results[0].mask
        self.assertTrue(sameGrid(ct, mask))
        self.assertEqual(storedSettings(ct)["seed"], 7)
        self.assertEqual(labelVoxels(segmentation), before)
        self.assertLessEqual(set(before) - set(labelVoxels(mask)), set())
        low, high = ct.GetImageData().GetScalarRange()
        self.assertLessEqual(low, -900)
        self.assertGreater(high, 200)

    def test_OutputVolume(self):
        """A volume node of the caller's gets the CT."""
        from SynthCTModule.Cases import loadCase, sampleCase
        from SynthCTModule.SelfTest import selfTestProcess

        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Mine")
        logic = SynthCTLogic(selfTestProcess())
        results = logic.process(loadCase(sampleCase()), volume, preset="draft", waitForCompletion=True)
        self.assertIs(results[0].ct, volume)
        self.assertEqual(volume.GetName(), "Mine")
        self.assertIsNotNone(volume.GetImageData())

    def test_Cancel(self):
        """A canceled run ends within seconds and leaves no node."""
        from SynthCTModule.Cases import loadCase, sampleCase
        from SynthCTModule.ResultNodes import results
        from SynthCTModule.RunState import RunState
        from SynthCTModule.SelfTest import selfTestProcess

        self.delayDisplay(_("Canceling a run"))
        logic = SynthCTLogic(selfTestProcess())
        run = logic.process(loadCase(sampleCase()), preset="best")
        run.cancel()
        self.assertTrue(run.wait(10))
        self.assertEqual(run.outcome.state, RunState.CANCELLED)
        self.assertEqual(results(), [])

    def test_Kill(self):
        """A process of Slicer's own Python is gone within 2 seconds, whether or not PyTorch is there."""
        from SynthCTModule.SelfTest import secondsToEnd
        from SynthCTModule.WorkerProcess import SlicerWorkerProcess

        self.delayDisplay(_("Starting and ending a process"))
        process = SlicerWorkerProcess()
        self.assertLess(secondsToEnd(process), 2)
        self.assertFalse(process.isRunning())
