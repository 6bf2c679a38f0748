"""What the page says between its tables."""

HEAD = """# Quality

What the features of each preset are worth, learned without labels, against raw pixels,
PCA of the same size, JPEG, and what others published. Written by `make scoreboard`; one
row: `make scoreboard ROWS="cifar10/conv"` (a dataset, a row or a pattern such as
`*/pca-*` will do, too). Figures that stand are not measured again, and a training that
was cut off goes on; `python bench/quality.py --help` has the rest. Each figure is kept
in `bench/scoreboard/`, with its settings, versions, processor and date.

The images lie beside the checkout: `../shared/data/cifar10` and
`../shared/data/grocery` with Parquet files `train*`, `test*` (and `val*`) of columns
`image`, the encoded bytes, and `label`; Fashion-MNIST is Debian's
`dataset-fashion-mnist`. A dataset that is missing is skipped, and the command says so.
"""

PROTOCOL = """## How it is measured

- **Images** are canonical as ingest makes them and normalised by channel, by the
  training images. CIFAR-10 here is a copy that was recompressed as JPEG (quality 75,
  colour at half resolution), which costs methods that live on fine detail some points
  against published figures. The groceries have an official split; elsewhere a tenth of
  the training images is held out for every choice (the best epoch, the strength of the
  probe). Test images are looked at once.
- **Features** are the latents of the saved and loaded artefact, frozen. No label is
  used to learn them.
- **Linear**: multinomial logistic regression (L-BFGS) on standardised latents; the
  penalty is chosen on the held-out training images among 9 strengths from 0.1 to 10⁻⁵;
  then fitted on all training latents and scored once on all test images.
- **k-NN**: cosine, k = 20, votes weighted by exp(s / 0.1), on the latents as they are.
- **Spread**: ± is the standard deviation over seeds 0, 1 and 2, where more than one was
  measured; raw pixels, PCA and JPEG have no randomness to speak of, and variants of a
  preset have one seed.
- **PSNR and SSIM** (7 × 7 window) are means over the test images, range 1.
- **Bytes** of a latent in float32; and in one byte a number, packed by zstd over the
  whole test set, in brackets what that loses (points of linear, dB of PSNR).
- **CPU-minutes** are those of the process that fits, on one core and one thread,
  everything after decoding included, over all runs that it took. The machine was shared
  while this was measured: CPU time then runs some tenths higher than on an idle one.
- **images/s**: uint8 pixels to latents, batches of 128, in CPU time, the best of three
  passes; *of peak*: its floating-point operations over what a float32 matrix product of
  2048 × 2048 reaches in the same process; above 100 where layers compute in bfloat16.
- **Health** of 10,000 training latents: effective rank (Roy and Vetterli 2007),
  dimensions that spread less than a thousandth of the widest, least and greatest norm.
"""

ABOUT_CARD = """## Rate and distortion: how good a compressor is it?

PSNR in dB / SSIM at equal bytes an image, on the first {judged:,} test images. Latents
(PCA's and the presets' alike) are rounded with steps that cost the picture the same
everywhere, numbers that the decoder does not read are not sent, and the whole set is
packed by LZMA, column by column: real bytes, without the decoder's weights (or PCA's
components), which are paid once. JPEG is Pillow's at {qualities} qualities: *whole
files* have Huffman tables of their own where that is smaller; *scans alone* leave out
headers and tables, which a corpus could keep once. Between measured points the table
interpolates over the logarithm of the size; blank is outside of them.

In short, of what is measured so far: latents show more than JPEG where bytes are few,
up to about 128 of them against bare scans (by PSNR; by SSIM a little less), and up to
some hundreds against whole files, which spend 160 to 310 bytes before the picture
begins. Above, JPEG wins: it sends ever finer detail, and a latent of fixed size has no
more to send. Among latents of photographs PCA is hard to beat: `conv` shows a little
more at 16 bytes and less from 32 on; `patch`, whose decoder reads principal components,
about as much; and `instance`, which has fewer of them, as much at 16 bytes and some
2 dB less at 64. Garments have less to say, and there `conv` learns to say it: 2 dB more
than PCA at 16 and 32 bytes.

CIFAR-10's images have been JPEGs of quality 75 already: at that setting they come back
all but unharmed, which flatters JPEG from about 60 on. The other two have no such past.
"""

ABOUT_PUBLISHED = """Frozen features learned without labels, in percent. Protocols
differ in their classifiers and augmentation, and nearly all spent more computing, by
orders of magnitude; *from memory* marks what was not looked up again.
"""

GPU_COMMAND = (
    "`KERAS_BACKEND=jax python bench/gpu_quality.py --data FOLDER --minutes 10`"
)
ABOUT_GPU = f"""## On a GPU

CIFAR-10, preset `resnet`, by {GPU_COMMAND}.
"""
NO_GPU = f"""## On a GPU

Not yet measured. {GPU_COMMAND} prints the
figures; put its lines into `bench/scoreboard/gpu.jsonl`, and
`python bench/quality.py --page` shows them here.
"""

EXTENSIONS_COMMAND = (
    "`python bench/extensions.py --out bench/scoreboard/extensions.jsonl`"
)
ABOUT_EXTENSIONS = f"""## Extensions

What may be asked of preset `conv` besides, each trained for {{minutes:g}} CPU-minutes
(`fusion` for about as long) on {{images:,}} training images of CIFAR-10 from seed
{{seed}}, and judged on {{test:,}} test images: {EXTENSIONS_COMMAND}.
Bold is what the option is for; compare it with `plain`. *Of noisy* and *of masked*:
PSNR of what is painted of images with noise of deviation {{noise:g}}, or with
{{mask:.0%}} of their blocks hidden, in all rows. *Fréchet of N(0, 1)*: the distance of
images painted of draws from N(0, 1) to test images, in means of 4 × 4 pixels. *Error of
features*: of reconstructions, in the features of the network of row `discriminative`,
in shares of their variance, where that network stood by then. Probes are those of the
gate, on 10,000 training images. `fusion` has preset `patch` beside `conv`.
"""
NO_EXTENSIONS = f"""## Extensions

Not yet measured: {EXTENSIONS_COMMAND}.
"""
PARTS = """The parts of `fusion`, alone: `conv` reads {linear_of_conv:.1f} and
{knn_of_conv:.1f}, `patch` {linear_of_patch:.1f} and {knn_of_patch:.1f}.
"""
