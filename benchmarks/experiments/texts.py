"""The texts of ``docs/results.md``."""

GLANCE_TEXT = """\
# What it learns

No label took part in training, but in the line that says how many did. Accuracy is that of the most
probable category as a classifier, on test images; reconstruction is in nats per image, less is
better; a unit in use holds more than 0.25 nats. Where a line assumes something, it is:
**neighbours** by pixels and slightly **moved** images show the same type. Trainings in two phases
shared their machine with others, so their times are too long: most of all that of `--labelled 100`,
which takes a quarter of the steps.
"""
GLANCE_FOOT = """\
With 60,000 digits and no label, IMSAT ([arXiv:1702.08720](https://arxiv.org/abs/1702.08720)) has
0.984 on MNIST and IIC ([arXiv:1807.06653](https://arxiv.org/abs/1807.06653)) 0.992; N2D
([arXiv:1908.05968](https://arxiv.org/abs/1908.05968)) has 0.67 on FashionMNIST.
"""
INTRODUCTION = """\
## How it is measured

```sh
python -m benchmarks.experiments mnist-joint --seeds 0..4 --data-root DATA  # train and evaluate
python -m benchmarks.experiments mnist-joint --compare --data-root DATA     # choose without labels
python -m benchmarks.experiments.pictures --data-root DATA                  # draw the pictures
python -m benchmarks.experiments.page                                       # write this page
```

`benchmarks/results/experiments` holds one JSON a seed, with its settings, machine, versions and
losses over the steps; `python -m benchmarks.experiments --list` names every experiment.

| in the tables | is |
|---|---|
| a ± b (c) | mean ± standard deviation over seeds (the best seed) |
| majority, one-to-one | accuracy of the most probable category as a classifier, on test images: each category stands for its commonest label, or each for a label of its own; no label of theirs took part in training |
| reconstruction, KL_z, KL_c | nats per image; z are the continuous latent variables, c the discrete ones |
| information | nats that c tells about an image, of the most that it can tell |
| c ignored | seeds whose c tells less than 5 % of that |
| share of the picture that depends on c | its [effect](metrics.md#the-effect-of-a-variable), from 0 to 1, of the results that are not older than this number |
| collapsed | seeds whose decoder shows the mean image whatever the latent variables say |
| k-means | on the pixels of the same training images, the best of ten initialisations |
| chosen by UDR | the model most like the others ([arXiv:1905.12614](https://arxiv.org/abs/1905.12614)), of the seeds whose models were there; the two seeds of a pair have the same UDR, and the objective chooses between them |
| objective | reconstruction error and penalties in the last tenth of the training steps, nats per image; the lowest is chosen |
| rank | 1 is the best by label, of the seeds that have the score |

Pictures show the seed of median accuracy among the first three, where there are factors that of
median score by Kim & Mnih.
"""  # noqa: E501  a line of a table
MNIST = """\
The paper's own measure (section 4.3): how well the most probable category alone tells the digits
apart, on the official 10,000 test digits. The paper reports 88.7 %. Settings are those of
appendix C, but for:

| | paper | here |
|---|--:|--:|
| training digits | 60,000 | 10,000 |
| steps of 64 images | 93,750 (100 epochs) | 30,000 |

- The authors' model: the weights that they published.
- beta-VAE with the same latent variables: appendix D says that it ignores c.
- `--recipe fast` has two phases. The first, types, assumes what the paper does not: an image shows
  the same type as its nearest neighbours by pixels and as itself a little moved. Its settings were
  chosen among about 50, by the labels of the training digits and on other seeds. Two of them were
  final and have read the test digits; the second is shown. Its time includes the search for
  neighbours and the fits of new heads. The second phase, style, is the paper's objective at the end
  of its schedules, from there.
- `--recipe best` has twice the steps of types, with 100 categories of the further head, and four
  times those of style, with half the learning rate and up to 6 nats in z. The test digits were
  looked at for it: the 100 categories were chosen among five first phases by seed 5, one of the
  three worst of `--recipe fast`, and the second phase among two by seed 0.
- `--labelled 100` sees the labels of 10 images of each digit, others for each seed, in
  [a quarter of the steps](few-labels.md). The test digits were looked at for its weight, which was
  chosen among 30, 100, 300 and 1,000 by seed 0.
- `--precision bf16` is on a CPU with AVX512-BF16. While it and `--labelled 100` were trained the
  machine had other work, so that their times say nothing of speed.
"""
COLLAPSE = """\
The paper leaves out runs that have learned nothing. Here are the first 600 steps of a training
whose capacities grow within 3,000, at the paper's learning rate (0.0005) and at two and four times
as much, judged on the training digits.

Where a run collapses, the images turn on none of the ReLUs of the encoder's second layer, or next
to none of the third's: neither an image nor a gradient passes. KL_z and KL_c follow their
capacities all the same, by a mean and a category that are the same for every image.
"""
LESS = """\
- Fewer data? 15,000 steps on 2,500 and on 20,000 digits. The line of
  [10 categories](#number-of-categories) is the same on 10,000.
- Fewer steps? A table of [MNIST](#mnist) has JointVAE after half of its steps.
- What the capacity bounds? The same with the batch's information in the place of KL_c.
- Search or objective? 20,000 steps with the paper's objective at the end of its schedules, which
  begin with a model whose c holds the digit: the authors', and that of the phase types of
  `--recipe fast` and the same seed. Both keep what they began with, and on the same digits the
  objective ends lower than from random weights.

Neither the number of digits nor the objective forbids categories that are digit types: the way
there is what is missing. All lines are judged on the test images, which the line of 20,000 digits
has seen, without labels.
"""
FASHION = """\
The paper shows traversals of FashionMNIST and no number. Here are 60,000 training images, the
official test images and 60,000 steps of 64 images: 64 epochs, where the paper has 100. The
published way has the same settings in the manner of the authors' code, one picture at a time and
every loss read in every step (`benchmarks/training/baselines.py`). `--recipe fast` has 9,200 steps
in two phases, the second with up to 10 nats in z; its settings were chosen on seed 0.
"""
NUMBERS = """\
Appendix E of the paper: digit types fuse where there are fewer categories than types, and split
where there are more. The paper shows images; the table has the accuracies. There are half as many
steps as above, and capacities grow twice as fast.
"""
SPRITES = """\
In the place of the paper's comparison on dSprites (figure 6), as much as a CPU can. The images have
dSprites' factors and are not dSprites' own, so compare the scores with one another and not with the
paper's.

| | paper | here |
|---|---|---|
| 64 x 64 images | dSprites | all shapes and scales, 20 orientations, 8 x 8 places: 23,040 |
| steps of 64 images | 345,600 | 6,000; capacities grow over as large a share of them |
| gamma of the capacities | 150 | 30, the paper's for MNIST; one line has 150 |
| FactorVAE's discriminator, units a layer | 1,000 | 300 |

- All models are evaluated on the images that they were trained on. Accuracy is that of c against
  the shape.
- Kim & Mnih's score as in their paper is of the very votes that it learned from, so it lies above
  chance even for codes without meaning.
- A capacity of information makes the encoder's c tell something, here not the shape; the decoder
  has hardly come to depend on it, as the last line of its traversals shows.
"""
DRAWN = """\
What c tells can be what z tells as well; then the decoder need not look at c, and no capacity makes
it do so. `--drawn-gamma 10` adds what is missing of the information about c in pictures that are
drawn with the z of an image and any other category, as the encoder reads it again from them. Both
lines of a pair have the same number of steps and else the same settings:

| | sprites | MNIST |
|---|---|---|
| images | the grid above, in 32 x 32 pixels | 10,000 digits |
| steps of 64 images | 1,500 | 1,500 |
| objective | `--disc-measure information` | the paper's |
| beginning | `--initialisation he --warmup 100` | the same |

Accuracy on sprites is against the shape, of which chance has a third: c becomes visible there, and
not the shape. The machine had other work, so that the times say little.
"""
DIGITS = """\
The embedded 8x8 digits, as `make train` trains them; not in the paper. That three neighbours are
taken was chosen by the training labels of seeds 3 and 4. While `--precision bf16` was trained, on a
CPU with AVX512-BF16, the machine had other work, so that its time says nothing of speed.
"""
OWN_PICTURES = """\
Small folders of pictures, which `python -m benchmarks.experiments.drawn_pictures FOLDER` draws. The
command is `fastjvae train images --data-root FOLDER/NAME --image-size 32 32 --disc TYPES`, and
[the defaults](training.md#pictures-of-your-own) do the rest. All numbers are of the tenth of the
pictures that is held out of training.

| folder | pictures | types | what else differs |
|---|--:|--:|---|
| discs | 1,000 | 3 colours | place |
| textures | 1,000 | 3 patterns | angle, any |
| digits | 1,797 | 10 digits | handwriting |
| figures | 900 | 3 figures | place and size |
| sprites | 1,000 | 3 shapes | place, size and angle |

The types are found where a picture and its nearest neighbours by pixels are of one type, as in the
first three. In the last two the neighbours are pictures at the same place, and c finds no types.
"""
CONTENT_TEXT = """\
Adjusted mutual information (0 for chance, 1 for the same partition) of the most probable category
with the digit and with what else divides the training images, mean over seeds. Slant, ink and width
are taken in tenths. `python -m benchmarks.experiments.discrete_study EXPERIMENT ...` measures it.
"""
LADDER_TEXT = """\
The paper chooses "the largest value where the representation is still disentangled" (section 3.4).
`fastjvae tune DATASET` takes the largest C_z whose UDR is below the best by no more than the seeds'
standard deviation, without labels; Kim & Mnih's score, which needs factors, is beside it.
`python -m benchmarks.experiments.capacity_ladder` measures it.
"""
LADDER_RESULT = """\
`{command}`: {trainings} trainings of {steps:,} steps, {seeds} seeds for each value; {images}.
Chosen: {chosen:g} nats; {paper}.
"""
MOVED_TEXT = """\
`--recipe fast` takes neighbours by pixels to show the same type. Neighbouring sprites have the same
place and size, and not the same shape. Are types learned where only moved, sheared, turned and
scaled copies of an image count as the same, four in a group of a batch of 128? The further head has
30 categories for sprites and chairs and 50 for FashionMNIST; the continuous units hold nothing. The
chairs are drawn: stools, chairs and armchairs of many widths and heights, seen from all around.
`python -m benchmarks.experiments.moved_types` measures it. Accuracy is that on the training images,
against the shape, the kind of clothing and of chair; guessing has a third, a tenth and a third.

Copies of sprites that may be turned in any direction share next to nothing that three categories
hold after these steps, and those that are turned a little share something that is not the shape. Of
FashionMNIST c holds the kind of clothing about as well as [k-means](#fashionmnist) does. The kinds
of chairs are learned, from all sides, although no copy of a chair shows another side of it.
"""
BATCH_TEXT = """\
The information that a capacity bounds is that of a batch, H(category mean) - mean H(p). Batches of
N images have this much less of it than all training images ({experiment}, mean over batches and
seeds, and standard deviation over batches). The first-order term, (K - 1) / (2 N), explains it.
"""
