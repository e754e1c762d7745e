"""Keeps results of runs under results/, and makes the tables of the README and of docs/ from them.

python -m experiments.results --record=runs/cifar10 --name=cifar10_resnet34_resnet18
python -m experiments.results --record=runs/compare_cifar10 --name=cifar10_comparison
python -m experiments.results --record=runs/compare_cifar10_more_seeds --name=cifar10_comparison --merge
python -m experiments.results --docs=docs
"""

from absl import flags

from experiments.command_line import launch

FLAGS = flags.FLAGS
flags.DEFINE_string("record", "", "Workdir of a finished run or a comparison, to keep as results/NAME.json.")
flags.DEFINE_string("name", "", "Name for --record; by default the workdir's name.")
flags.DEFINE_bool("merge", False, "Add the seeds of the recorded comparison to those in results/NAME.json.")
flags.DEFINE_bool("overwrite", False, "Replace another run or comparison that results/NAME.json holds.")
flags.DEFINE_string("readme", "", "Markdown file whose tables are regenerated.")
flags.DEFINE_string("docs", "", "Folder of Markdown files whose tables are regenerated.")
flags.DEFINE_string("results", "results", "Folder of the JSON files.")


def main(command, interruption):
    """Records a result, renews the tables, or both."""
    from ssdkd_jax.errors import UserError
    from ssdkd_jax.files import expand
    from ssdkd_jax.reports import documents, results_files

    del command, interruption
    if FLAGS.merge and not FLAGS.record:
        raise UserError("--merge adds the seeds of a comparison; give it with --record=WORKDIR")
    if FLAGS.overwrite and (FLAGS.merge or not FLAGS.record):
        raise UserError("--overwrite replaces what is kept; give it with --record=WORKDIR and without --merge")
    if not (FLAGS.record or FLAGS.readme or FLAGS.docs):
        raise UserError("nothing to do; give --record=WORKDIR, --readme=FILE or --docs=DIR")
    if FLAGS.name and not FLAGS.record:
        raise UserError("--name is that of a result to keep; give it with --record=WORKDIR")
    paths, folder = documents.listed(FLAGS.readme, FLAGS.docs), expand(FLAGS.results)
    if FLAGS.record:
        workdir = results_files.folder_to_record(FLAGS.record)
        path = results_files.path_of(folder, FLAGS.name or workdir.resolve().name)
        if FLAGS.merge:
            results_files.merge(workdir, path)
        else:
            results_files.record(workdir, path, overwrite=FLAGS.overwrite)
        print(path)
    if paths:
        for changed in documents.refresh(paths, results_files.read_results(folder)):
            print(changed)


def run():
    """The program."""
    launch(main, required=(), example="--record=runs/digits --name=digits")


if __name__ == "__main__":
    run()
