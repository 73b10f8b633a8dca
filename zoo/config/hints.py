"""What a mistyped key of a configuration may mean."""

import difflib
import importlib.util
import re
from collections.abc import Collection

_SYNONYMS = {  # what other programs call a key, in lower case and without underscores
    "model": "net network arch architecture modelname",
    "dtype": "precision mixedprecision amp fp16 bf16",
    "seed": "seeds randomseed rngseed rng prngseed",
    "num_seeds": "seeds nseeds runs numruns repeats",
    "mesh.seeds_at_once": "vmap vmapseeds seedbatch seedsperdevice",
    "mesh.model": "modelparallel tensorparallel tp",
    "mesh.data": "devices numdevices ndevices gpus numgpus ngpu worldsize dataparallel",
    "init_from": "pretrained finetune finetunefrom initweights weights loadfrom resumefrom",
    "freeze": "frozen freezelayers frozenlayers trainable",
    "dataset": "datasetname task",
    "data_dir": "datapath dataroot root",
    "manual_dir": "datapath dataroot root",
    "data.image_size": "imgsize size resolution resize",
    "data.channels": "numchannels color colour grayscale greyscale",
    "data.test_share": "testsize testsplit testfraction",
    "data.fields": "columns keys labelcolumn",
    "data.stream": "streaming lazy outofcore",
    "data.workers": "numworkers nworkers loaders prefetchworkers",
    "validation": "val valsplit validationsplit holdout split",
    "remat": "rematerialize gradientcheckpointing activationcheckpointing checkpointing",
    "num_epochs": "epochs epoch nepochs maxepochs steps numsteps trainsteps totalsteps iterations",
    "batch_size": "bs batch trainbatchsize minibatchsize",
    "eval_batch_size": "evalbatch testbatchsize valbatchsize",
    "label_smoothing": "smoothing smooth labelsmooth smoothlabels",
    "optimizer.name": "optim opt optimizer optimiser",
    "optimizer.learning_rate": "lr eta stepsize baselr maxlr peaklr",
    "optimizer.rate_for_batch": "scalelr scalelearningrate lrscaling linearscaling autoscalelr",
    "optimizer.schedule": "scheduler lrschedule lrscheduler decay",
    "optimizer.warmup_epochs": "warmup warmupsteps",
    "optimizer.b1": "beta1 betas",
    "optimizer.b2": "beta2 betas",
    "optimizer.eps": "epsilon",
    "optimizer.weight_decay": "wd l2 l2reg regularization",
    "optimizer.clip_norm": "clip gradclip clipgrad gradientclip maxgradnorm gradnorm",
    "optimizer.rates": "lrmult lrmultipliers layerlr layerwiselr discriminativelr",
    "optimizer.accumulate_steps": "accumulate accumulation gradaccum gradientaccumulationsteps",
    "checkpoint.every_epochs": "saveevery checkpointevery saveinterval",
}
_NOT_SET = {  # what a key would be that other programs have
    "it follows from the dataset, config.dataset": "numclasses nclasses classes numlabels "
    "outputdim imageshape inputshape inputsize inchannels numtrain",
    "it follows from the net, config.model": "dropout dropoutrate filters kernelsize numlayers "
    "activation depth hidden features",
    "--workdir DIR sets a run's directory": "workdir output outputdir outdir logdir rundir savedir",
    "the option --quiet prints nothing but the result": "quiet verbose verbosity",
    "the environment variable JAX_PLATFORMS chooses the device, such as cpu": "device gpu "
    "cuda tpu platform accelerator",
    "config.validation=holdout tests the best epoch instead": "patience earlystopping",
}


def unknown_key(key: str, keys: Collection[str]) -> str:
    """The sentence for a key that is not among the keys: why, or those that may be meant."""
    if group := [known for known in keys if known.startswith(key + ".")]:
        return f"config.{key} is a group of keys: did you mean {group[0]} or {group[1]}?"
    tail = _bare(key)
    for reason, names in _NOT_SET.items():
        if tail in names.split():
            return f"unknown key config.{key}: {reason}"
    near = [known for known in keys if _bare(known) == tail]  # batchsize, learning_rate
    near = near or [known for known, names in _SYNONYMS.items() if tail in names.split()]
    near = near or difflib.get_close_matches(key, keys, n=2, cutoff=0.7)
    found = importlib.util.find_spec("zoo.configs.default")
    place = found.origin if found else "configs/default.py"
    hint = f"did you mean {' or '.join(near)}?" if near else f"the keys are in {place}"
    return f"unknown key config.{key}: {hint}"


def _bare(key: str) -> str:
    """Its last part in lower case, without underscores."""
    return re.sub(r"[^a-z0-9]", "", key.rsplit(".", 1)[-1].lower())
