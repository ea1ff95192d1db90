kernel-y += vmm/svm/svm.c vmm/svm/entry.S
