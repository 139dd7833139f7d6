"""Judge the face: drawn frames against path-traced truth, against the parameters asked for, and over time.

    python -m perf.face                          # everything, some minutes: perf/results/MACHINE/face.{md,json}, sheets
    python -m perf.face --quick                  # one person, few frames, no report
    python -m perf.face --portraits DIR          # real portraits of your own beside those in well-known packages
    python -m perf.face --long                   # drift over 54,000 frames: half an hour more

Held-back synthetic people, whom no network was trained on, speak in path-traced films; an avatar is made of the photo
of each and asked for the same PARAMETERS. The rows tell what each part of the renderer adds:

    still       the photo, unmoved: what must be beaten
    geometry    motion and painted layers alone
    steadied    the same with the stabiliser
    network     with the renderer's own learned network (tier `fast`)
    fast        with network and stabiliser: as served
    standard    the tiers above, as served
    high
    truth       path tracing itself: for figures that look at one film alone

What the figures mean:

    psnr        dB, of the mean squared error of all frames together, RGB
    ssim        Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural
                similarity" (2004), on luma
    gmsd        Xue, Zhang, Mou and Bovik, "Gradient magnitude similarity deviation" (2014): perceived distortion, lower
                is better, 0 for equal pictures
    sharpness   mean gradient in terms of the truth's
    warping     RMS difference, levels, of a frame to the one before it, moved by the truth's optical flow
    tOF         mean distance, px, between the optical flow of the row's film and the truth's (Chu et al., "Learning
                temporal coherence via self-supervision for GAN-based video generation", 2020)
    flicker     second differences in time, levels, along the motion that the geometry knows, over the mouth
    off truth   the same of the difference to the truth's film: flicker that the truth has not
    change var  variance over time of the mean difference between frames, levels^2
"""
